import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { DOCK, openBrowser, openPage } from "./support/browser.mjs";
import { Server, until } from "./support/server.mjs";
import { CLIPBOARD, clipboard, onTab, openTab, sessionStatus, signIn } from "./support/studio.mjs";

let server;
let browser;
let slug;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
  ({ slug } = await server.seed());
});
after(async () => {
  await browser.close();
  await server.stop();
});

/** The code of a step of 30 s, as an app computes it: RFC 6238. */
function totp(secret, step) {
  const bits = [...secret].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const digest = createHmac("sha1", key).update(counter).digest();
  const offset = digest[19] & 15;
  return String((digest.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

const DOTS = /^•+$/;
async function access(t, { cookie, ...more } = {}) {
  if (!cookie) return onTab(t, { server, browser, slug, tab: "access", ...more });
  const [name, value] = cookie.split("=");
  const context = await browser.newContext({ viewport: DOCK, locale: "fr-FR", ...CLIPBOARD });
  t.after(() => context.close());
  await context.addCookies([{ name, value, url: server.origin }]);
  return openTab(await openPage(browser, `${server.origin}/admin`, { context }), "access");
}
const logIn = (name, password) => signIn(server, name, password);
const twice = async (row, name) => {
  await row.getByRole("button", { name }).click();
  await row.getByRole("button", { name: /Touchez encore/ }).click();
};
const copied = async (page, where, what) => {
  await page.evaluate(() => navigator.clipboard.writeText(""));
  await where.getByRole("button", { name: /^Copier/ }).click();
  return until(what, () => clipboard(page));
};

test("an account is made, gets a new password and is deleted, and what it held ends at once", async (t) => {
  const page = await access(t);
  await page.getByText("Nouveau compte").click();
  const form = page.locator("admin-access form", { has: page.getByRole("button", { name: "Créer le compte" }) });
  await form.getByLabel("Nom", { exact: true }).fill("lea");
  await form.getByLabel("Rôle").selectOption("moderator");
  await form.getByRole("button", { name: "Créer le compte" }).click();
  await page.getByText("Compte lea créé.").waitFor();
  const handed = page.locator(".copy", { hasText: "Mot de passe de lea" });
  assert.match(await handed.locator(".copy__text").textContent(), DOTS, "masked");
  const first = await copied(page, handed, "a password");
  assert.match(first, /^([a-z2-9]{4}-){3}[a-z2-9]{4}$/);
  const session = await logIn("lea", first);
  assert.equal(session.role, "moderator");
  const asLea = () => sessionStatus(server, session.cookie);
  assert.equal(await asLea(), 200);

  const row = page.locator(".key", { has: page.locator("b", { hasText: /^lea$/ }) }).first();
  await twice(row, "Nouveau mot de passe");
  await page.getByText("lea est partout déconnecté", { exact: false }).waitFor();
  assert.equal(await asLea(), 401, "signed out everywhere");
  const second = await copied(page, row.locator(".copy"), "another password");
  assert.notEqual(second, first);
  assert.equal((await logIn("lea", first)).status, 401);
  assert.equal((await logIn("lea", second)).status, 200);

  await twice(row, "Supprimer");
  await page.getByText("Le compte lea est supprimé", { exact: false }).waitFor();
  await row.waitFor({ state: "detached" });
  assert.equal((await logIn("lea", second)).status, 401);
  assert.deepEqual(page.problems, []);
});

test("an account that cannot be made says why, next to its form", async (t) => {
  const page = await access(t);
  await page.getByText("Nouveau compte").click();
  const form = page.locator("admin-access form", { has: page.getByRole("button", { name: "Créer le compte" }) });
  await form.getByLabel("Nom", { exact: true }).fill("scenes-admin");
  await form.getByRole("button", { name: "Créer le compte" }).click();
  await until("words", async () => (await form.locator(".problem").allTextContents()).some((text) => text.length > 5));
});

test("the last admin can neither delete itself nor be deleted", async (t) => {
  const page = await access(t);
  const row = page.locator(".key", { hasText: "dernier admin" });
  await row.getByText("vous").waitFor();
  assert.equal(await row.getByRole("button").count(), 0);
  assert.throws(() => server.streamer("remove", "scenes-admin"));
});

test("one's own password is changed here, and other browsers are signed out", async (t) => {
  const PASSWORD = "une phrase assez longue";
  server.streamer("add", "noe", { password: PASSWORD });
  const [elsewhere, here] = [await logIn("noe", PASSWORD), await logIn("noe", PASSWORD)];
  const page = await access(t, { cookie: here.cookie });
  await page.locator(".person__name", { hasText: "noe" }).waitFor();
  await page.getByText("Changer mon mot de passe").click();
  await page.getByLabel("Mot de passe actuel").fill("pas le bon mot de passe");
  await page.getByLabel("Nouveau mot de passe").fill("une autre phrase, plus longue");
  await page.getByRole("button", { name: "Changer", exact: true }).click();
  await page.getByText("ce n’est pas le mot de passe de ce compte", { exact: false }).waitFor();
  await page.getByLabel("Mot de passe actuel").fill(PASSWORD);
  await page.getByRole("button", { name: "Changer", exact: true }).click();
  await page.locator(".said", { hasText: "Mot de passe changé" }).waitFor();
  assert.equal(await sessionStatus(server, elsewhere.cookie), 401);
  assert.equal((await logIn("noe", PASSWORD)).status, 401);
  assert.equal((await logIn("noe", "une autre phrase, plus longue")).status, 200);
  await page.reload();
  await page.locator(".tabs").waitFor();
  server.streamer("remove", "noe");
});

test("a token is shown once and masked, drives a live as the example says, and opens nothing once revoked", async (t) => {
  const page = await access(t);
  await page.getByText("Nouveau jeton").click();
  await page.getByLabel("Nom du jeton").fill("Stream Deck");
  await page.getByRole("button", { name: "Créer un jeton" }).click();
  const fresh = page.locator(".copy", { hasText: "Stream Deck" });
  assert.match(await fresh.locator(".copy__text").textContent(), DOTS);
  const token = await copied(page, fresh, "the token");
  assert.equal(await page.content().then((html) => html.includes(token)), false);
  const call = await copied(page, page.locator(".example"), "the call");
  const [, url] = call.match(/^curl -X POST -H "Authorization: Bearer TOKEN" (\S+)$/);
  const next = () => fetch(url, { method: "POST", headers: { Authorization: `Bearer ${token}` } });
  const went = await next();
  assert.equal(went.status, 200);
  assert.equal((await went.json()).current, 2);
  assert.ok((await page.getByRole("link", { name: "Toute l’API" }).getAttribute("href")).endsWith("/api/docs"));
  await twice(page.locator(".key", { hasText: "Stream Deck" }), "Révoquer");
  await page.getByText(/Le jeton «.Stream Deck.» est révoqué/).waitFor();
  assert.equal(await fresh.count(), 0);
  assert.equal((await next()).status, 401);
});

test("a token has the rights and the life that were chosen, and the log says who made it", async (t) => {
  const page = await access(t);
  await page.getByText("Nouveau jeton").click();
  await page.getByLabel("Nom du jeton").fill("Bot de nuit");
  await page.getByRole("checkbox", { name: "Piloter les lives" }).uncheck();
  await page.getByLabel("Validité").selectOption("90");
  await page.getByRole("button", { name: "Créer un jeton" }).click();
  const row = page.locator(".key", { has: page.locator("b", { hasText: "Bot de nuit" }) });
  await row.getByText("lire", { exact: true }).waitFor();
  await row.getByText("jusqu’au", { exact: false }).waitFor();
  await page.reload();
  await openTab(page, "access");
  const log = page.locator("admin-audit");
  await log.getByLabel("Nom ou mot").fill("Bot de nuit");
  await log.getByRole("button", { name: "Filtrer" }).click();
  await until("one entry", async () => (await log.locator(".audit__entry").count()) === 1);
  assert.match(await log.locator(".audit__entry").textContent(), /Jeton créé.*scenes-admin.*Bot de nuit/);
  const [file] = await Promise.all([page.waitForEvent("download"), log.getByRole("link", { name: "Exporter en CSV" }).click()]);
  assert.match(readFileSync(await file.path(), "utf8"), /^time,who,.*\n.*scenes-admin,page,.*create_token/);
  assert.deepEqual(page.problems, []);
});

test("whoever has been signed in for long gives the password again, and what they asked for is done", async (t) => {
  const page = await access(t);
  let asked = 0;
  await page.route("**/api/admin/tokens", async (route) => {
    if (route.request().method() !== "POST" || asked++ > 0) return route.fallback();
    const problem = { status: 403, code: "confirm_required", rule: "confirm_required", params: { max_s: 600 }, reason: "x", remedy: "x" };
    return route.fulfill({ status: 403, contentType: "application/problem+json", body: JSON.stringify(problem) });
  });
  await page.getByText("Nouveau jeton").click();
  await page.getByLabel("Nom du jeton").fill("Plus tard");
  await page.getByRole("button", { name: "Créer un jeton" }).click();
  const dialog = page.locator("dialog.confirm[open]");
  await dialog.getByLabel("Mot de passe").fill("pas le bon mot de passe");
  await dialog.getByRole("button", { name: "Continuer" }).click();
  await dialog.getByText("ce n’est pas le mot de passe de ce compte", { exact: false }).waitFor();
  await dialog.getByLabel("Mot de passe").fill("une phrase assez longue");
  await dialog.getByRole("button", { name: "Continuer" }).click();
  await page.locator(".copy", { hasText: "Plus tard" }).waitFor();
  assert.equal(asked, 2);
  assert.equal(await page.locator("dialog.confirm").count(), 0, "with the password that was typed");
});

test("two steps are set up with an app, asked for at the door, and switched off again", async (t) => {
  const PASSWORD = "une phrase assez longue";
  server.streamer("add", "ana", { password: PASSWORD });
  const page = await access(t, { cookie: (await logIn("ana", PASSWORD)).cookie });
  const factor = page.locator("admin-factor");
  await factor.getByRole("button", { name: "Activer" }).click();
  await factor.getByAltText("Code QR du secret").waitFor();
  const secret = await copied(page, factor.locator(".copy"), "the secret");
  assert.equal(await page.content().then((html) => html.includes(secret)), false, "masked");
  await factor.getByLabel("Les six chiffres").fill("000000");
  await factor.getByRole("button", { name: "Vérifier et activer" }).click();
  await factor.getByText("faux, ou déjà utilisé", { exact: false }).waitFor();
  const used = Math.floor(Date.now() / 30_000);
  await factor.getByLabel("Les six chiffres").fill(totp(secret, used));
  await factor.getByRole("button", { name: "Vérifier et activer" }).click();
  await factor.locator(".factor__codes li").first().waitFor();
  assert.equal(await factor.locator(".factor__codes li").count(), 10);
  const [recovery] = await factor.locator(".factor__codes li").allTextContents();
  await factor.getByRole("button", { name: "C’est fait" }).click();
  await factor.getByText("Codes de secours restants", { exact: false }).waitFor();
  assert.equal((await logIn("ana", PASSWORD)).code, "code_required");

  const context = await browser.newContext({ viewport: DOCK, locale: "fr-FR" });
  t.after(() => context.close());
  const door = await openPage(browser, `${server.origin}/admin`, { context });
  await door.locator("admin-signin [name=name]").fill("ana");
  await door.locator("admin-signin [name=password]").fill(PASSWORD);
  assert.equal(await door.getByLabel("Code de l’application").isVisible(), false);
  // The other tests sign in from this address as well: who is told to wait tries again.
  const enter = (what, isIn) => until(what, async () => {
    await door.getByRole("button", { name: "Entrer" }).click();
    await door.locator('admin-signin [aria-busy="true"]').waitFor({ state: "detached" });
    return isIn();
  }, 60_000, 1_000);
  const code = door.getByLabel("Code de l’application");
  await enter("the code is asked for", async () => {
    if (await code.isVisible()) return true;
    await door.locator("admin-signin [name=password]").fill(PASSWORD);
    return false;
  });
  await code.fill(recovery);
  await enter("the page", () => door.locator(".tabs").isVisible());

  await factor.getByRole("button", { name: "Désactiver" }).click();
  await factor.getByRole("button", { name: /Touchez encore/ }).click();
  await factor.getByText("Désactivée", { exact: false }).waitFor();
  assert.equal((await logIn("ana", PASSWORD)).status, 200);
  server.streamer("remove", "ana");
});

test("a browser somebody left signed in is signed out from here", async (t) => {
  const PASSWORD = "une phrase assez longue";
  const page = await access(t);
  const other = await logIn("scenes-admin", PASSWORD);
  await page.locator('[data-tab="results"]').click();
  await page.locator('[data-tab="access"]').click();
  await page.getByText("ce navigateur").waitFor();
  const ends = page.getByRole("button", { name: "Déconnecter", exact: true });
  await ends.first().waitFor();
  // Other tests signed in as well: the newest is the last of the list.
  await ends.last().click();
  await page.getByRole("button", { name: /Déconnecter .* Touchez encore/ }).click();
  await page.getByText("Ce navigateur de scenes-admin est déconnecté.").waitFor();
  assert.equal(await sessionStatus(server, other.cookie), 401);
  assert.ok(await page.locator(".tabs").isVisible(), "this one stays");
});

test("a moderator may change the own password, and sees nothing of accounts, tokens and sessions", async (t) => {
  const page = await access(t, { role: "moderator" });
  await page.locator(".person__role", { hasText: "modération" }).waitFor();
  await page.getByText("l’affaire des admins", { exact: false }).waitFor();
  for (const title of ["Comptes", "Jetons d’API", "Navigateurs connectés"]) assert.equal(await page.getByRole("heading", { name: title }).isVisible(), false, title);
  await page.getByText("Changer mon mot de passe").click();
  await page.getByLabel("Nouveau mot de passe").waitFor();
  assert.equal(page.requests.some((url) => /admin\/(accounts|tokens|sessions)/.test(url)), false, "it does not even ask");
  assert.deepEqual(page.problems.filter((text) => !text.includes("403")), []);
});
