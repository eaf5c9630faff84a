import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DOCK, openBrowser, openPage } from "./support/browser.mjs";
import { withPasskeys } from "./support/passkeys.mjs";
import { Server, until } from "./support/server.mjs";
import { openTab, signIn } from "./support/studio.mjs";

const PASSWORD = "une phrase assez longue";

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
  await server.seed();
});
after(async () => {
  await browser.close();
  await server.stop();
});

/** The tab of an account of its own, at the name that passkeys are for unless another host is given. */
async function access(t, name, { origin = server.named, init = null } = {}) {
  server.streamer("add", name, { password: PASSWORD });
  const { cookie } = await signIn(server, name, PASSWORD);
  const context = await browser.newContext({ viewport: DOCK, locale: "fr-FR" });
  t.after(() => context.close());
  const [key, value] = cookie.split("=");
  await context.addCookies([{ name: key, value, url: origin }]);
  if (init) await context.addInitScript(init);
  const page = await openPage(browser, `${origin}/admin`, { context });
  await openTab(page, "access");
  return page;
}

async function add(page, name) {
  const passkeys = page.locator("admin-passkeys");
  const summary = passkeys.getByText("Nouvelle clé d’accès");
  if (!(await passkeys.getByLabel("Nom de la clé d’accès").isVisible())) await summary.click();
  await passkeys.getByLabel("Nom de la clé d’accès").fill(name);
  await passkeys.getByRole("button", { name: "Ajouter la clé d’accès" }).click();
  return passkeys;
}

const signOut = async (page) => {
  await page.getByRole("button", { name: "Se déconnecter", exact: true }).first().click();
  await page.getByRole("heading", { name: "Connexion" }).waitFor();
};
const byPasskey = (page) => page.getByRole("button", { name: "Entrer avec une clé d’accès" });
const plainWords = (text) => text.replaceAll(/[\u00a0\u202f]/g, " ");

test("a passkey is added, signs in without a password, and opens nothing once removed", async (t) => {
  const page = await access(t, "mia");
  const device = await withPasskeys(page);
  const passkeys = await add(page, "Téléphone");
  await passkeys.getByText("ajoutée.", { exact: false }).waitFor();
  const [credential, ...others] = await device.credentials();
  assert.deepEqual([credential.rpId, credential.isResidentCredential, others.length], ["localhost", true, 0]);
  await passkeys.locator(".key", { hasText: "Téléphone" }).getByText("pas encore utilisée", { exact: false }).waitFor();
  assert.match(server.streamer("list"), /mia {2}1 passkey$/m);

  await add(page, "Encore");
  await passkeys.getByText("Cet appareil a déjà une clé d’accès de ce compte.").waitFor();

  await signOut(page);
  await byPasskey(page).click();
  await page.locator(".tabs").waitFor();
  await page.locator('[data-tab="access"]').click();
  await page.locator(".person__name", { hasText: "mia" }).waitFor();
  await passkeys.locator(".key", { hasText: "Téléphone" }).getByText("utilisée le", { exact: false }).waitFor();

  await passkeys.getByRole("button", { name: "Retirer" }).click();
  await passkeys.getByRole("button", { name: /Touchez encore/ }).click();
  await passkeys.getByText("n’ouvre plus rien", { exact: false }).waitFor();
  await passkeys.getByText("Aucune clé d’accès pour l’instant.").waitFor();
  await signOut(page);
  await byPasskey(page).click();
  await page.getByText("Cette clé d’accès n’est pas de ce compte et de ce site.", { exact: false }).waitFor();
  assert.equal((await signIn(server, "mia", PASSWORD)).status, 200, "the password goes on to work");
  // Once for each time somebody left, and was asked whether they are still there; and for the passkey that was refused.
  assert.deepEqual(page.problems.filter((text) => !/ 40[13] /.test(text)), []);
});

test("a passkey stands in for the password where it is asked for again", async (t) => {
  const page = await access(t, "noa");
  await withPasskeys(page);
  const passkeys = await add(page, "Ordinateur");
  await passkeys.locator(".key", { hasText: "Ordinateur" }).waitFor();
  let asked = 0;
  await page.route("**/api/admin/tokens", (route) => {
    if (route.request().method() !== "POST" || asked++ > 0) return route.fallback();
    const problem = { status: 403, code: "confirm_required", rule: "confirm_required", params: { max_s: 600 }, reason: "x", remedy: "x" };
    return route.fulfill({ status: 403, contentType: "application/problem+json", body: JSON.stringify(problem) });
  });
  await page.getByText("Nouveau jeton").click();
  await page.getByLabel("Nom du jeton").fill("Par clé");
  await page.getByRole("button", { name: "Créer un jeton" }).click();
  const dialog = page.locator("dialog.confirm[open]");
  await dialog.getByRole("button", { name: "Utiliser une clé d’accès" }).click();
  await page.locator(".copy", { hasText: "Par clé" }).waitFor();
  assert.equal(asked, 2);
  assert.equal(await page.locator("dialog.confirm").count(), 0);
});

test("a device that does not verify its owner gives no passkey, and the page says that none came", async (t) => {
  const page = await access(t, "zoe");
  const device = await withPasskeys(page);
  await device.verifies(false);
  const passkeys = await add(page, "Sans empreinte");
  await until("words", async () => /Aucune clé d’accès reçue : annulé/.test(plainWords(await passkeys.textContent())));
  assert.deepEqual(await device.credentials(), []);
  await device.verifies(true);
  await passkeys.getByRole("button", { name: "Ajouter la clé d’accès" }).click();
  await passkeys.locator(".key", { hasText: "Sans empreinte" }).waitFor();
});

const WITHOUT = {
  "an address made of numbers": [() => ({ origin: server.origin }), /adresse en chiffres/],
  "a page that is not secure": [() => ({ init: () => Object.defineProperty(window, "isSecureContext", { value: false }) }), /qu’en https/],
  "a browser that has none": [() => ({ init: () => delete window.PublicKeyCredential }), /Ce navigateur n’a pas de clés d’accès/],
};
for (const [number, [what, [where, words]]] of Object.entries(WITHOUT).entries()) {
  test(`where there are no passkeys, the page says why and offers none: ${what}`, async (t) => {
    const page = await access(t, `sans-${number}`, where());
    const passkeys = page.locator("admin-passkeys");
    await passkeys.locator(".notice").waitFor();
    assert.match(await passkeys.locator(".notice").textContent(), words);
    assert.equal(await passkeys.getByRole("button").count(), 0);
    assert.deepEqual(page.problems, []);
    await signOut(page);
    assert.equal(await byPasskey(page).count(), 0);
  });
}
