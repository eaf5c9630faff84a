import assert from "node:assert/strict";
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
  const refused = await fetch(`${server.origin}/api/admin/accounts/scenes-admin`, { method: "DELETE", headers: { Authorization: `Bearer ${server.token}` } });
  assert.equal(refused.status, 409);
});

test("one's own password is changed here, and other browsers are signed out", async (t) => {
  const PASSWORD = "une phrase assez longue";
  await server.api("POST", "admin/accounts", { name: "noe", password: PASSWORD, role: "admin" });
  const [elsewhere, here] = [await logIn("noe", PASSWORD), await logIn("noe", PASSWORD)];
  const page = await access(t, { cookie: here.cookie });
  await page.locator(".person__name", { hasText: "noe" }).waitFor();
  await page.getByText("Changer mon mot de passe").click();
  await page.getByLabel("Nouveau mot de passe").fill("une autre phrase, plus longue");
  await page.getByRole("button", { name: "Changer", exact: true }).click();
  await page.getByText("Mot de passe changé", { exact: false }).waitFor();
  assert.equal(await sessionStatus(server, elsewhere.cookie), 401);
  assert.equal((await logIn("noe", PASSWORD)).status, 401);
  assert.equal((await logIn("noe", "une autre phrase, plus longue")).status, 200);
  await page.reload();
  await page.locator(".tabs").waitFor();
  await server.api("DELETE", "admin/accounts/noe");
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
