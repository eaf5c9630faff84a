import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openBrowser } from "./support/browser.mjs";
import { button, head, openConsole, order, row, tab, title } from "./support/console.mjs";
import { Server, until } from "./support/server.mjs";
import { Wire } from "./support/wire.mjs";

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
});
after(async () => {
  await browser.close();
  await server.stop();
});

async function twoConsoles(t, slug, options) {
  const seeded = options === null ? await server.api("POST", "admin/channels", { slug, title: slug }) : await server.seed({ slug, ...options });
  const [one, two] = await Promise.all(["fr-FR", "en-GB"].map((locale) => openConsole(server, browser, slug, { locale })));
  t.after(() => Promise.all([one.context().close(), two.context().close()]));
  return { ...seeded, one, two };
}

test("two admins see each other's jeux, closings, programme and the end of the live", async (t) => {
  const { one, two, jeux } = await twoConsoles(t, "both-drive");
  await title(one).filter({ hasText: "Ultraroute 94" }).waitFor();
  await button(one, "next").click();
  await title(two).filter({ hasText: "Les Brumes de Valmère" }).waitFor();
  await two.locator(`.jeu-card[data-jeu="${jeux[0]}"]`).getByRole("button", { name: /Cancel closing/ }).click();
  await title(one).filter({ hasText: "Ultraroute 94" }).waitFor();
  await one.getByLabel("Ajouter au programme").fill("Kart Abyssal");
  await one.locator("admin-programme").getByRole("button", { name: "Ajouter" }).click();
  await until("the new jeu", async () => (await order(two)).includes("Kart Abyssal"));
  await head(two, jeux[2]).focus();
  await two.keyboard.press("Alt+ArrowDown");
  await until("the new order", async () => (await order(one)).join() === "Ultraroute 94,Les Brumes de Valmère,Kart Abyssal,Petite Forge");
  await button(one, "close-live").click();
  await button(one, "close-live").filter({ hasText: "pour de bon" }).click();
  await two.getByText(/The live ends in \d s/).waitFor();
  await two.locator("admin-stage").getByRole("button", { name: "End it now" }).click();
  await button(two, "close-live").filter({ hasText: "for good" }).click();
  await one.getByText("Live terminé", { exact: false }).waitFor();
  await two.getByText("The live is over", { exact: false }).waitFor();
});

test("two who go on at the same moment skip no jeu, and the second is told", async (t) => {
  const { one, two } = await twoConsoles(t, "both-next");
  await title(one).filter({ hasText: "Ultraroute 94" }).waitFor();
  await two.route("**/next", async (route) => {
    await button(one, "next").click();
    await title(one).filter({ hasText: "Les Brumes de Valmère" }).waitFor();
    await route.continue();
  }, { times: 1 });
  await button(two, "next").click();
  await two.getByRole("alert").filter({ hasText: "Somebody has already moved on" }).waitFor();
  await title(two).filter({ hasText: "Les Brumes de Valmère" }).waitFor();
  assert.equal(await title(one).textContent(), "Les Brumes de Valmère");
});

test("what one prepares is there for the other: jeux, baremes, drafts, settings", async (t) => {
  const { one, two } = await twoConsoles(t, "both-prepare", null);
  for (const page of [one, two]) await tab(page, "prepare").click();
  // Ticked boxes and typed words of the other one stay.
  await two.getByLabel("Title of the live").fill("Half typed");
  await one.getByLabel("Ajouter des jeux").fill("Un\nDeux\nTrois");
  await one.locator("admin-catalogue").getByRole("button", { name: "Ajouter" }).click();
  await two.locator("admin-catalogue").getByText("Trois").waitFor();
  await two.locator(".checks").getByLabel("Deux").check();
  await one.getByRole("button", { name: "+ Une note sur 10" }).click();
  await two.locator("bareme-editor summary").filter({ hasText: "Une note sur 10" }).waitFor();
  assert.ok(await two.locator(".checks").getByLabel("Deux").isChecked());
  await one.getByLabel("Titre du live").fill("Vendredi");
  await one.locator(".checks").getByLabel("Un").check();
  await one.getByLabel("Garder en brouillon").check();
  await one.locator("admin-prepare").getByRole("button", { name: "Garder en brouillon" }).click();
  await two.locator("admin-prepare .row").filter({ hasText: "Vendredi" }).waitFor();
  await one.locator("admin-channels form").first().getByLabel("Nom de la chaîne").fill("Autre nom");
  await one.locator("admin-channels form").first().getByRole("button", { name: "Enregistrer" }).click();
  await until("the new name", async () => (await two.locator(".top").textContent()).includes("Autre nom"));
  assert.equal(await two.getByLabel("Title of the live").inputValue(), "Half typed");
});

test("a lost connection is unmistakable, no button pretends, and it heals", async (t) => {
  const { live_id, jeux } = await server.seed({ slug: "wire" });
  const wire = await Wire.to(server.port, t);
  const page = await openConsole(server, browser, "wire", { origin: wire.origin });
  t.after(() => page.context().close());
  await title(page).filter({ hasText: "Ultraroute 94" }).waitFor();
  wire.cut();
  const banner = page.locator(".lost");
  await banner.waitFor();
  assert.match(await banner.textContent(), /Connexion perdue/);
  const { width, x } = await banner.boundingBox();
  assert.deepEqual([x, width], [0, page.viewportSize().width], "from edge to edge");
  assert.equal(await page.locator(".console button:enabled:visible").count(), 0, "nothing can be pressed");
  await page.keyboard.press("n");
  assert.match(await page.locator(".stage-panel__old").textContent(), /Anciens chiffres, de \d\d:\d\d:\d\d/);
  // Meanwhile the show goes on by another hand.
  await server.api("POST", `admin/lives/${live_id}/jeux/${jeux[1]}/open`);
  await server.vote({ live_id, jeu_id: jeux[1], fun: 4 });
  assert.equal(await title(page).textContent(), "Ultraroute 94", "what is shown is what was known");
  wire.mend();
  await banner.waitFor({ state: "hidden" });
  await title(page).filter({ hasText: "Les Brumes de Valmère" }).waitFor();
  await until("new numbers", async () => (await page.locator(".is-large .jeu-card__value").nth(1).textContent()) === "1");
  assert.equal(await page.locator(".stage-panel__old").textContent(), "");
  await button(page, "next").click();
  await title(page).filter({ hasText: "Petite Forge" }).waitFor();
});

test("a slow action shows that it is busy and runs once, a failed one says why next to itself", async (t) => {
  await server.seed({ slug: "slow" });
  const page = await openConsole(server, browser, "slow");
  t.after(() => page.context().close());
  let asked = 0;
  let release = () => {};
  const held = new Promise((resolve) => (release = resolve));
  await page.route("**/next", async (route) => {
    asked += 1;
    await held;
    await route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ code: "unavailable", rule: "unavailable", params: {}, reason: "the disk is full", remedy: "free some" }) });
  });
  await button(page, "next").click();
  await page.locator('[data-focus="next"][aria-busy="true"]').waitFor();
  await page.keyboard.press("n");
  release();
  await page.locator(".action:has([data-focus=next]) .problem").filter({ hasText: "Le serveur ne peut rien enregistrer" }).waitFor();
  assert.equal(asked, 1);
  assert.equal(await page.locator("[aria-busy=true]").count(), 0);
});

test("focus stays on a button that becomes another one, and goes to a heading when it is gone", async (t) => {
  const { jeux } = await server.seed({ slug: "focus" });
  const page = await openConsole(server, browser, "focus");
  t.after(() => page.context().close());
  await button(page, "phase").focus();
  await page.keyboard.press("Enter");
  await button(page, "phase").filter({ hasText: "Annuler" }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.dataset.focus), "phase");
  await head(page, jeux[2]).click();
  await row(page, jeux[2]).getByRole("button", { name: "Retirer" }).focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  await row(page, jeux[2]).waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Programme");
});
