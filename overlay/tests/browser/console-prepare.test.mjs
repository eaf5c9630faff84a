import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openBrowser } from "./support/browser.mjs";
import { head, openConsole, order, tab, title } from "./support/console.mjs";
import { Server, until } from "./support/server.mjs";

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
});
after(async () => {
  await browser.close();
  await server.stop();
});

async function prepare(t, slug, { role, ...more } = {}) {
  await server.api("POST", "admin/channels", { slug, title: "Max joue" });
  const page = await openConsole(server, browser, slug, { role, ...more });
  t.after(() => page.context().close());
  return page;
}

test("an empty channel opens on what to prepare, and every list says that it is empty", async (t) => {
  const page = await prepare(t, "empty");
  assert.equal(await tab(page, "prepare").getAttribute("aria-selected"), "true");
  for (const words of ["Le catalogue est vide : tapez", "Aucun brouillon", "Le catalogue est vide.", "Aucun barème à vous"]) {
    await page.getByText(new RegExp(words.replace(" :", "\\s:"))).first().waitFor();
  }
});

test("a live from a preset and typed titles is on air with one button, in the order that was typed", async (t) => {
  const page = await prepare(t, "preset");
  await page.getByLabel("Titre du live").fill("Vendredi");
  await page.getByLabel("Barème", { exact: true }).selectOption({ label: "Une note sur 10" });
  await page.getByText("Note 0–10").first().waitFor();
  await page.getByLabel("Nouveaux jeux").fill("Trois\nUn\nDeux");
  await page.getByRole("button", { name: "Ouvrir le live" }).click();
  await title(page).filter({ hasText: "Trois" }).waitFor();
  assert.deepEqual(await order(page), ["Trois", "Un", "Deux"]);
  assert.equal(await page.locator(".jeu-card.is-large .jeu-card__critere").count(), 1);
});

test("a draft waits, and opens from the live tab", async (t) => {
  const page = await prepare(t, "draft");
  await page.getByLabel("Titre du live").fill("Samedi");
  await page.getByLabel("Nouveaux jeux").fill("Un\nDeux");
  await page.getByLabel("Garder en brouillon").check();
  await page.locator("admin-prepare").getByRole("button", { name: "Garder en brouillon" }).click();
  await page.locator("admin-prepare .row", { hasText: "Samedi" }).getByText("2 jeux").waitFor();
  await tab(page, "live").click();
  await page.locator("admin-idle .row", { hasText: "Samedi" }).getByRole("button", { name: "Ouvrir le live" }).click();
  await title(page).filter({ hasText: "Un" }).waitFor();
});

test("jeux are pasted by the list, edited with platform, genre and year, and deleted", async (t) => {
  const page = await prepare(t, "catalogue");
  const list = page.locator("admin-catalogue");
  await page.getByLabel("Ajouter des jeux").fill("Un\nDeux\n\nTrois\nUn");
  await list.getByRole("button", { name: "Ajouter" }).click();
  await until("three", async () => (await list.locator("details").count()) === 3);
  const second = list.locator("details").nth(1);
  await second.locator("summary").click();
  await second.getByLabel("Plateforme").fill("PC");
  await second.getByLabel("Genre").fill("Aventure");
  await second.getByLabel("Année").fill("1994");
  await second.getByRole("button", { name: "Enregistrer" }).click();
  await second.locator("summary").getByText("PC · Aventure · 1994").waitFor();
  const third = list.locator("details").nth(2);
  await third.locator("summary").click();
  await third.getByRole("button", { name: "Supprimer" }).click();
  await third.locator(".is-asking").click();
  await until("gone", async () => (await list.locator("details").count()) === 2);
});

test("the bareme editor shows while one types what viewers will see", async (t) => {
  const page = await prepare(t, "editor");
  await page.getByRole("button", { name: "+ Une note sur 10" }).click();
  const editor = page.locator("bareme-editor details").first();
  const field = editor.locator("bareme-preview critere-field");
  await field.waitFor();
  assert.equal(await field.locator(".step").count(), 11);
  await editor.getByLabel("À", { exact: true }).fill("4");
  await until("five steps", async () => (await field.locator(".step").count()) === 5);
  await editor.getByLabel("Nom (français)").fill("Plaisir");
  await field.getByText("Plaisir").waitFor();
  await editor.getByLabel("À", { exact: true }).fill("100");
  await field.locator("input[type=range]").waitFor();
  await editor.getByLabel("À", { exact: true }).fill("5");
  await editor.getByRole("button", { name: "Ajouter un critère" }).click();
  await until("two criteres", async () => (await field.count()) === 2);
  await editor.getByRole("button", { name: "Enregistrer" }).click();
  const saved = await until("saved", async () => {
    const [bareme] = await server.api("GET", "admin/channels/editor/baremes");
    return bareme.criteres.length === 2 && bareme;
  });
  assert.deepEqual([saved.criteres[0].labels.fr, saved.criteres[0].max], ["Plaisir", 5]);
});

test("a field the server refuses is marked, says why next to itself, and has the focus", async (t) => {
  const page = await prepare(t, "refused");
  await page.getByRole("button", { name: "+ Une note sur 10" }).click();
  const editor = page.locator("bareme-editor details").first();
  await editor.getByLabel("Pas", { exact: true }).fill("3");
  await editor.getByRole("button", { name: "Enregistrer" }).click();
  const step = editor.locator('[data-name="step"]');
  await editor.locator('[data-name="step"][aria-invalid="true"]').waitFor();
  assert.ok(await step.evaluate((input) => input === document.activeElement));
  const words = await step.evaluate((input) => document.getElementById(input.getAttribute("aria-describedby")).textContent);
  assert.match(words, /^pas\s: doit diviser exactement/);
  await step.fill("1");
  assert.equal(await editor.locator("[aria-invalid]").count(), 0, "typing takes the mark away");
});

test("the channel's delay and name are settings, and a second channel makes a chooser", async (t) => {
  const page = await prepare(t, "settings");
  const form = page.locator("admin-channels form").first();
  await form.getByLabel(/Délai de fermeture/).fill("2.5");
  await form.getByRole("button", { name: "Enregistrer" }).click();
  await until("saved", async () => (await server.api("GET", "admin/channels/settings")).close_delay_ms === 2_500);
  await page.getByText("Nouvelle chaîne").click();
  const another = page.locator("admin-channels details form");
  await another.getByLabel("Nom de la chaîne").fill("Réglages Deux");
  await another.getByRole("button", { name: "Créer la chaîne" }).click();
  await until("chosen", async () => (await page.getByLabel("Chaîne", { exact: true }).inputValue()) === "reglages-deux");
});

test("a moderator drives, and is not shown what only admins may do", async (t) => {
  const { jeux } = await server.seed({ slug: "moderated" });
  const page = await openConsole(server, browser, "moderated", { role: "moderator" });
  t.after(() => page.context().close());
  await title(page).filter({ hasText: "Ultraroute 94" }).waitFor();
  assert.ok(await tab(page, "prepare").isHidden());
  assert.ok(await page.getByLabel("Ajouter au programme").isHidden());
  assert.equal(await page.locator("[data-grip]").count(), 0);
  assert.equal(await page.locator("admin-quick .copy").count(), 1, "the overlay's secret is not for moderators");
  await head(page, jeux[1]).click();
  assert.equal(await page.getByRole("button", { name: "Retirer" }).count(), 0);
  await page.keyboard.press("n");
  await title(page).filter({ hasText: "Les Brumes de Valmère" }).waitFor();
});
