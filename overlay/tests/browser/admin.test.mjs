import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DOCK, OBS, openBrowser, openPage, overlayVotes, step } from "./support/browser.mjs";
import { Server, until } from "./support/server.mjs";

const PASSWORD = "une phrase assez longue";

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start({ withToken: false }), openBrowser()]);
});
after(async () => {
  await browser.close();
  await server.stop();
});

async function signIn(locale = "fr-FR") {
  const page = await openPage(browser, `${server.origin}/admin`, { viewport: DOCK, locale });
  await page.locator("admin-signin [name=name]").fill("max");
  await page.locator("admin-signin [name=password]").fill(PASSWORD);
  await page.keyboard.press("Enter");
  await page.locator(".tabs").waitFor();
  return page;
}

test("from the set-up link to an open live and a vote on the overlay", async () => {
  const startedAt = performance.now();
  const link = await server.setupLink();
  const page = await openPage(browser, link, { viewport: DOCK });
  await page.getByRole("heading", { name: "Premier démarrage" }).waitFor();
  assert.equal(await page.evaluate(() => location.pathname + location.hash), "/admin", "the token left the address bar");
  await page.locator("admin-signin [name=name]").fill("max");
  await page.locator("admin-signin [name=password]").fill(PASSWORD);
  await page.getByRole("button", { name: "Créer le compte" }).click();
  await page.getByLabel("Nom de la chaîne").fill("Max joue");
  await page.getByRole("button", { name: "Créer la chaîne" }).click();
  await page.locator('[data-tab="prepare"]').click();
  await page.getByLabel("Titre du live").fill("Soirée");
  await page.getByLabel("Nouveaux jeux").fill("Ultraroute 94\nLes Brumes de Valmère\nPetite Forge");
  await page.getByRole("button", { name: "Ouvrir le live" }).click();
  await page.locator(".stage-panel__title", { hasText: "Ultraroute 94" }).waitFor();
  await page.locator('[data-tab="links"]').click();
  await page.getByRole("button", { name: "Créer une adresse" }).click();
  const masked = page.locator(".copy__text").nth(1);
  assert.match(await masked.textContent(), /^•+$/, "the key is masked");
  await page.getByRole("button", { name: "Montrer" }).click();
  const overlay = await masked.textContent();
  const viewer = await openPage(browser, await page.locator(".copy__text").first().textContent());
  const stage = await openPage(browser, overlay, { viewport: OBS });
  await step(viewer, "fun", 5).check();
  await until("the vote on the overlay", async () => (await overlayVotes(stage).textContent()) === "1 vote");
  console.log(`first run to a vote on the overlay: ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
  for (const opened of [page, viewer, stage]) {
    assert.deepEqual(opened.problems.filter((text) => !text.includes("401")), []);
    await opened.context().close();
  }
  assert.doesNotMatch(server.output, new RegExp(PASSWORD));
});

test("two admins see each other's changes, and drive a live", async () => {
  const [one, two] = [await signIn(), await signIn("en-GB")];
  const title = (page) => page.locator(".stage-panel__title");
  await title(one).filter({ hasText: "Ultraroute 94" }).waitFor();
  await one.getByRole("button", { name: "Jeu suivant : Les Brumes" }).click();
  await title(two).filter({ hasText: "Les Brumes de Valmère" }).waitFor();
  const first = (page) => page.locator(".programme__row").first();
  await first(two).getByText(/Closing in \d+ s/).waitFor();
  await first(two).getByRole("button", { name: "Cancel closing" }).click();
  await first(one).getByText("ouvert").waitFor();
  await one.locator(".programme__row").nth(2).getByRole("button", { name: "Ouvrir" }).click();
  await title(two).filter({ hasText: "Petite Forge" }).waitFor();
  assert.equal(await two.locator('.programme__row[data-phase="open"]').count(), 3, "several jeux are open at once");
  await two.getByLabel("Add a game to the programme").fill("Kart Abyssal");
  await two.getByRole("button", { name: "Add", exact: true }).first().click();
  await one.getByText("Kart Abyssal").first().waitFor();
  await one.getByRole("button", { name: "Terminer le live" }).click();
  await one.getByRole("button", { name: "Terminer pour de bon" }).click();
  await two.getByRole("button", { name: "End it now" }).click();
  await two.getByRole("button", { name: "End it for good" }).click();
  await one.getByText("Aucun live en cours", { exact: false }).waitFor();
  await two.getByText("Nothing on air", { exact: false }).waitFor();
  await one.locator('[data-tab="results"]').click();
  await one.getByRole("button", { name: "Voir" }).click();
  await one.getByRole("row", { name: /Ultraroute 94/ }).waitFor();
  await Promise.all([one.context().close(), two.context().close()]);
});

test("an error of the server stands next to the action, in words", async () => {
  const page = await signIn();
  await page.getByText("Nouvelle chaîne").click();
  await page.getByLabel("Nom de la chaîne").fill("Max joue");
  await page.getByRole("button", { name: "Créer la chaîne" }).click();
  await until("words", async () => /Refusé/.test(await page.locator("admin-channels .problem").textContent()));
  await page.context().close();
});

test("a lost connection is unmistakable, no button pretends, and it comes back", async () => {
  const page = await signIn();
  await page.locator('[data-tab="links"]').click();
  await page.getByRole("button", { name: "Créer une adresse" }).waitFor();
  await server.kill();
  await page.getByText("Connexion perdue", { exact: false }).waitFor();
  assert.ok(await page.getByRole("button", { name: "Créer une adresse" }).isDisabled());
  await server.run();
  await page.getByText("Connexion perdue", { exact: false }).waitFor({ state: "hidden" });
  assert.ok(await page.getByRole("button", { name: "Créer une adresse" }).isEnabled());
  await page.context().close();
});

test("signing out ends the session here and a wrong password is refused in words", async () => {
  const page = await signIn();
  await page.locator('[data-tab="access"]').click();
  await page.getByRole("button", { name: "Se déconnecter" }).click();
  await page.getByRole("heading", { name: "Connexion" }).waitFor();
  await page.locator("admin-signin [name=name]").fill("max");
  await page.locator("admin-signin [name=password]").fill("pas le bon mot de passe");
  await page.getByRole("button", { name: "Entrer" }).click();
  await page.locator("admin-signin .problem").filter({ hasText: "mot de passe" }).waitFor();
  await page.context().close();
});
