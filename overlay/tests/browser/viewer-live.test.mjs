// What a viewer sees of a live, from before it to its ranking.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { barSays, openBrowser, openPage, step } from "./support/browser.mjs";
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

const none = (page, critere) => page.locator(`critere-field[data-critere="${critere}"] .critere__none`);
const title = (page) => page.locator(".jeu-head__title").textContent();
const row = (page, name) => page.locator(".strip__item", { hasText: name });

test("one screen of a phone: the jeu, its numbers, each critere with its ends, my note, and nothing to scroll sideways", async () => {
  const { live_id, jeux } = await server.seed({ slug: "ecran", bareme: (b) => ({ ...b, criteres: b.criteres.slice(0, 4) }) });
  for (const fun of [1, 4, 5]) await server.vote({ live_id, jeu_id: jeux[0], fun, graph: 3 });
  for (const [width, height] of [[390, 844], [360, 640], [320, 640], [820, 1180], [1280, 800]]) {
    const page = await openPage(browser, `${server.origin}/ecran`, { viewport: { width, height } });
    await page.locator('.link-status[data-link="live"]').waitFor();
    await until("the numbers", async () => (await page.locator(".jeu-head__votes").textContent()) === "/ 5 · 3 votes");
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false, `${width}`);
    if (height >= 800 && width < 1000) {
      for (const shown of [".jeu-head__title", ".jeu-head__mean", 'critere-field[data-critere="son"]', ".note-bar"]) {
        const box = await page.locator(shown).boundingBox();
        assert.ok(box.y >= 0 && box.y + box.height <= height, `${shown} on ${width} × ${height}: ${JSON.stringify(box)}`);
      }
    }
    const fun = page.locator('critere-field[data-critere="fun"]');
    assert.equal(await fun.locator(".critere__mean").textContent(), "moyenne 3,3");
    assert.deepEqual(await fun.locator(".critere__end").allTextContents(), ["soporifique", "irrésistible"]);
    const heights = await fun.locator(".step__column").evaluateAll((columns) => columns.map(({ style }) => Number(style.transform.match(/[\d.]+/)[0])));
    assert.deepEqual(heights.map((height) => height > 0), [true, false, false, true, true], "columns rise inside the buttons");
    await page.context().close();
  }
});

test("saved is said only after the server said so", async (t) => {
  await server.seed({ slug: "promesse" });
  const wire = await Wire.to(server.port, t);
  const page = await openPage(browser, `${wire.origin}/promesse`);
  await page.locator('.link-status[data-link="live"]').waitFor();
  wire.hold();
  await step(page, "fun", 4).check();
  await barSays(page, "Envoi…");
  assert.equal(await page.getByText("Enregistré").count(), 0);
  wire.release();
  await barSays(page, "Enregistré");
  await page.getByText("ma note 4,0").first().waitFor();
  await page.context().close();
});

test("sans avis is a choice: it is shown, it survives a reload, and a score replaces it", async () => {
  const { live_id } = await server.seed({ slug: "sansavis" });
  let page = await openPage(browser, `${server.origin}/sansavis`);
  await step(page, "fun", 4).check();
  await none(page, "duree").click();
  const ticked = (critere) => none(page, critere).locator("input").isChecked();
  await barSays(page, "Enregistré");
  for (let load = 0; load < 2; load += 1) {
    assert.deepEqual([await ticked("duree"), await ticked("graph"), await step(page, "fun", 4).isChecked()], [true, false, true], `load ${load}`);
    await page.reload();
    await barSays(page, "Enregistré");
  }
  await step(page, "duree", 2).check();
  await until("both count", async () => (await server.api("GET", `lives/${live_id}/results`)).jeux[0].mean === 3);
  assert.equal(await ticked("duree"), false);
  await page.context().close();
});

test("a note that lacks a critere says so, and what was chosen survives a reload", async () => {
  const { live_id } = await server.seed({ slug: "exigeant", bareme: (b) => ({ ...b, criteres: b.criteres.slice(0, 2).map((critere) => ({ ...critere, optional: false })) }) });
  const page = await openPage(browser, `${server.origin}/exigeant`);
  await step(page, "fun", 4).check();
  await barSays(page, "Encore 1 critère à noter");
  await page.reload();
  await barSays(page, "Encore 1 critère à noter");
  assert.ok(await step(page, "fun", 4).isChecked());
  await step(page, "graph", 2).check();
  await barSays(page, "Enregistré");
  assert.equal((await server.api("GET", `lives/${live_id}/results`)).jeux[0].mean, 3);
  await page.context().close();
});

test("offline the page says so, the one wanted note survives a reload, and is sent when the server is back", async (t) => {
  const { live_id } = await server.seed({ slug: "tunnel" });
  const wire = await Wire.to(server.port, t);
  const page = await openPage(browser, `${wire.origin}/tunnel`);
  await page.locator('.link-status[data-link="live"]').waitFor();
  wire.cut();
  await page.locator('.link-status[data-link="lost"]').waitFor();
  assert.equal(await page.locator(".link-status").textContent(), "reconnexion…");
  await barSays(page, "Hors ligne : vous pouvez noter, ce sera envoyé au retour");
  await step(page, "fun", 2).check();
  await step(page, "fun", 3).check();
  await barSays(page, "Hors ligne : envoi au retour");
  const kept = await page.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith("bareme.note/")));
  assert.equal(kept.length, 1);
  await page.close();
  wire.mend();
  const again = await page.context().newPage();
  await again.goto(`${wire.origin}/tunnel`);
  await barSays(again, "Enregistré");
  assert.ok(await step(again, "fun", 3).isChecked());
  const [jeu] = (await server.api("GET", `lives/${live_id}/results`)).jeux;
  assert.deepEqual([jeu.voters, jeu.mean], [1, 3]);
  assert.equal(await again.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith("bareme.note/")).length), 0);
  await page.context().close();
});

test("a note that comes too late is refused in words, in the page's language", async (t) => {
  for (const [lang, words] of [["fr", "Trop tard : les votes de ce jeu étaient fermés. Cette note ne compte pas."], ["en", "Too late: voting on this game was closed. This rating does not count."]]) {
    const { live_id, jeux } = await server.seed({ slug: `tard-${lang}` });
    const wire = await Wire.to(server.port, t);
    const page = await openPage(browser, `${wire.origin}/tard-${lang}?lang=${lang}`);
    await page.locator('.link-status[data-link="live"]').waitFor();
    wire.cut();
    await page.locator('.link-status[data-link="lost"]').waitFor();
    await step(page, "fun", 5).check();
    await server.api("POST", `admin/lives/${live_id}/jeux/${jeux[0]}/close`, { delay_ms: 0 });
    wire.mend();
    await barSays(page, words, 10_000);
    await page.context().close();
  }
});

test("a newer note of another device is shown, and says why", async (t) => {
  await server.seed({ slug: "ailleurs" });
  const wire = await Wire.to(server.port, t);
  const page = await openPage(browser, `${wire.origin}/ailleurs`);
  await step(page, "fun", 1).check();
  await barSays(page, "Enregistré");
  wire.cut();
  await page.locator('.link-status[data-link="lost"]').waitFor();
  await step(page, "fun", 2).check();
  const [{ value: viewer }] = (await page.context().cookies()).filter(({ name }) => name.endsWith("bareme_viewer"));
  await server.vote({ channel: "ailleurs", jeu_id: 1, fun: 5, viewer });
  wire.mend();
  await until("the note that counts", async () => step(page, "fun", 5).isChecked(), 10_000);
  await page.context().close();
});

test("two tabs of one viewer show one note", async () => {
  const { live_id } = await server.seed({ slug: "deux" });
  const one = await openPage(browser, `${server.origin}/deux`);
  const two = await one.context().newPage();
  await two.goto(`${server.origin}/deux`);
  await two.locator('.link-status[data-link="live"]').waitFor();
  await step(one, "fun", 4).check();
  await barSays(two, "Enregistré");
  assert.ok(await step(two, "fun", 4).isChecked());
  await none(two, "graph").click();
  await step(two, "duree", 2).check();
  await until("the first tab has both", async () => (await step(one, "duree", 2).isChecked()) && none(one, "graph").locator("input").isChecked());
  await one.getByRole("button", { name: "Retirer" }).click();
  await barSays(two, "Note retirée");
  assert.equal((await server.api("GET", `lives/${live_id}/results`)).jeux[0].voters, 0);
  await one.context().close();
});

test("a tap that was on its way when the page went to the next jeu is no vote on it", async () => {
  const { live_id, jeux } = await server.seed({ slug: "elan", open_jeux: "all" });
  const page = await openPage(browser, `${server.origin}/elan`);
  await step(page, "fun", 1).waitFor({ state: "attached" });
  // Taps at the very moment the title changes, as a finger would that was coming down.
  await page.evaluate(() => {
    const shown = document.querySelector(".jeu-head__title");
    new MutationObserver(() => setTimeout(() => document.querySelector('critere-field[data-critere="fun"] input[value="1"]').click(), 50)).observe(shown, { childList: true });
  });
  await server.api("POST", `admin/lives/${live_id}/current`, { jeu_id: jeux[1] });
  await until("the next jeu", async () => (await title(page)) === "Les Brumes de Valmère");
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 500)));
  assert.equal(await step(page, "fun", 1).isChecked(), false);
  await step(page, "fun", 2).check();
  await barSays(page, "Enregistré");
  const { jeux: counted } = await server.api("GET", `lives/${live_id}/results`);
  assert.deepEqual(counted.map(({ mean }) => mean), [null, 2, null]);
  await page.context().close();
});

test("earlier jeux can be looked at and left again; one that is final shows its result and takes no vote", async () => {
  const { live_id, jeux } = await server.seed({ slug: "revoir" });
  const page = await openPage(browser, `${server.origin}/revoir`);
  await step(page, "fun", 4).check();
  await barSays(page, "Enregistré");
  await server.api("POST", `admin/lives/${live_id}/jeux/${jeux[0]}/close`, { delay_ms: 0 });
  await until("final", async () => (await page.locator(".jeu-head__moment").textContent()) === "Résultat final");
  await server.api("POST", `admin/lives/${live_id}/next`);
  await until("the next jeu", async () => (await title(page)) === "Les Brumes de Valmère");
  assert.equal(await row(page, "Petite Forge").locator("button").count(), 0, "what is to come cannot be looked at");
  assert.equal(await row(page, "Ultraroute 94").locator(".strip__mine").textContent(), "ma note 4,0");
  await row(page, "Ultraroute 94").locator("button").click();
  await until("the earlier jeu", async () => (await title(page)) === "Ultraroute 94");
  assert.ok(await step(page, "fun", 4).isDisabled());
  assert.ok(await step(page, "fun", 4).isChecked());
  assert.equal(await page.locator(".jeu-head__mean").textContent(), "4,0");
  assert.equal(await page.getByRole("button", { name: "Retirer" }).isVisible(), false);
  await page.getByRole("button", { name: "En ce moment : Les Brumes de Valmère" }).click();
  await until("back", async () => (await title(page)) === "Les Brumes de Valmère");
  await page.context().close();
});

test("at the end comes the ranking, whatever one looked at: best first, with bars, votes and my notes", async () => {
  const { live_id, jeux } = await server.seed({ slug: "fin", open_jeux: "all", jeux: ["Un", "Deux", "Trois", "Quatre"] });
  for (const [jeu, scores] of [[0, [2, 3]], [1, [5, 5]], [2, [4, 4, 4]]]) {
    for (const fun of scores) await server.vote({ live_id, jeu_id: jeux[jeu], fun });
  }
  const page = await openPage(browser, `${server.origin}/fin`);
  await row(page, "Trois").locator("button").click();
  await until("the jeu looked at", async () => (await title(page)) === "Trois");
  await step(page, "fun", 4).check();
  await barSays(page, "Enregistré");
  await server.api("POST", `admin/lives/${live_id}/close`, { delay_ms: 0 });
  await page.getByRole("heading", { name: "Le live est terminé" }).waitFor();
  await page.getByRole("heading", { name: "Classement" }).waitFor();
  const shown = () => page.locator(".strip__item").evaluateAll((items) => items.map((item) => ["place", "name", "mean", "words", "mine"].map((part) => item.querySelector(`.strip__${part}`).textContent)));
  await until("the ranking", async () => (await shown())[0][2] === "5,0");
  assert.deepEqual(await shown(), [
    ["1", "Deux", "5,0", "2 votes", ""],
    ["2", "Trois", "4,0", "4 votes", "ma note 4,0"],
    ["3", "Un", "2,5", "2 votes", ""],
    ["", "Quatre", "–", "0 vote", ""],
  ]);
  const lengths = await page.locator(".strip__fill").evaluateAll((bars) => bars.map(({ style }) => Number(style.transform.match(/[\d.]+/)[0])));
  assert.deepEqual(lengths, [1, 0.75, 0.375, 0]);
  await row(page, "Trois").locator("button").click();
  await until("its result", async () => (await title(page)) === "Trois");
  await until("its buttons are locked", () => step(page, "fun", 4).isDisabled());
  await page.getByRole("button", { name: "Classement" }).click();
  await page.getByRole("heading", { name: "Le live est terminé" }).waitFor();
  const later = await openPage(browser, `${server.origin}/fin`, { javaScriptEnabled: false });
  const names = await later.locator(".strip__name").allTextContents();
  assert.deepEqual(names, ["Deux", "Trois", "Un", "Quatre"], "the server's own page ranks the same way");
  await later.context().close();
  await page.context().close();
});

test("blind: no column, no mean before my vote, all of it after", async () => {
  const { live_id, jeux } = await server.seed({ slug: "aveugle", live: { blind: true } });
  await server.vote({ live_id, jeu_id: jeux[0], fun: 5, graph: 4 });
  const page = await openPage(browser, `${server.origin}/aveugle`);
  await page.getByText("Moyenne après votre vote").waitFor();
  await page.locator('.link-status[data-link="live"]').waitFor();
  const columns = () => page.locator(".step__column").evaluateAll((all) => all.filter(({ style }) => Number(style.transform.match(/[\d.]+/)?.[0]) > 0).length);
  assert.equal(await columns(), 0);
  assert.equal(await page.locator(".jeu-head__votes").textContent(), "1 vote");
  await step(page, "fun", 4).check();
  await until("the mean", async () => (await page.locator(".jeu-head__mean").textContent()) === "4,3");
  assert.ok((await columns()) >= 3);
  await page.context().close();
});

test("a deleted channel says so and stops asking; a server that is away is said to be", async (t) => {
  await server.seed({ slug: "adieu" });
  const page = await openPage(browser, `${server.origin}/adieu`);
  await page.locator('.link-status[data-link="live"]').waitFor();
  const { live_id } = await server.api("GET", "channels/adieu/live");
  await server.api("POST", `admin/lives/${live_id}/close`, { delay_ms: 0 });
  await page.getByRole("heading", { name: "Le live est terminé" }).waitFor();
  await server.api("DELETE", "admin/channels/adieu?confirm=adieu");
  await page.getByRole("heading", { name: "Cette chaîne n’existe plus" }).waitFor();
  assert.equal(await page.locator(".strip").isVisible(), false);
  const asked = page.requests.length;
  await page.evaluate(() => window.dispatchEvent(new Event("online")));
  assert.equal(page.requests.length, asked);
  await page.context().close();
  await server.seed({ slug: "absent" });
  const wire = await Wire.to(server.port, t);
  const viewer = await openPage(browser, `${wire.origin}/absent`);
  await viewer.locator('.link-status[data-link="live"]').waitFor();
  wire.cut();
  await viewer.locator(".link-status", { hasText: "reconnexion…" }).waitFor();
  assert.ok(await viewer.locator(".stage.is-old").isVisible());
  await viewer.context().close();
});

test("a rehearsal is nothing that viewers see", async () => {
  const { slug } = await server.seed({ slug: "repetition", open_jeux: null });
  const page = await openPage(browser, `${server.origin}/${slug}`);
  const frames = [];
  page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => frames.push(String(payload))));
  await page.reload();
  await page.locator('.link-status[data-link="live"]').waitFor();
  await server.api("POST", `admin/channels/${slug}/test-mode`, { on: true, votes_per_s: 5 });
  // A change of the channel that viewers do see comes after whatever the rehearsal sent.
  await server.api("PATCH", `admin/channels/${slug}`, { title: "Après la répétition" });
  await until("the new title", async () => (await page.locator(".bar__name").textContent()) === "Après la répétition");
  await page.getByRole("heading", { name: "Pas encore de live" }).waitFor();
  const polled = await (await fetch(`${server.origin}/api/channels/${slug}/state`)).text();
  const html = await (await fetch(`${server.origin}/${slug}?lang=fr`)).text();
  for (const text of [...frames, polled]) assert.ok(!text.includes('"test"') && !text.includes('"t":"tally"'), text);
  assert.ok(html.includes("Pas encore de live"));
  await server.api("POST", `admin/channels/${slug}/test-mode`, { on: false });
  await page.context().close();
});
