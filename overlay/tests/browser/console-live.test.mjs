import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openBrowser } from "./support/browser.mjs";
import { button, card, head, openConsole, row, title } from "./support/console.mjs";
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

/** A channel of its own with a live on air, and its console. */
async function onAir(t, slug, { delay_ms, page: more, ...options } = {}) {
  const seeded = await server.seed({ slug, ...options });
  if (delay_ms !== undefined) await server.api("PATCH", `admin/channels/${slug}`, { close_delay_ms: delay_ms });
  const page = await openConsole(server, browser, slug, more);
  t.after(() => page.context().close());
  return { ...seeded, page };
}

const place = (page, jeu) => card(page, jeu).locator(".jeu-card__place");
const value = (page, jeu, at) => card(page, jeu).locator(".jeu-card__value").nth(at);

test("the jeu on screen shows mean, voters, votes a second, sockets, and each critere with its columns", async (t) => {
  const { page, jeux, live_id } = await onAir(t, "numbers");
  for (const fun of [5, 4, 4, 3]) await server.vote({ live_id, jeu_id: jeux[0], fun, graph: 2 });
  await until("the mean", async () => (await value(page, jeux[0], 0).textContent()) === "3,0");
  assert.equal(await value(page, jeux[0], 1).textContent(), "4");
  await until("votes a second", async () => (await value(page, jeux[0], 2).textContent()) !== "0");
  assert.equal(await value(page, jeux[0], 3).textContent(), "1");
  const fun = card(page, jeux[0]).locator(".jeu-card__critere").first();
  assert.equal(await fun.locator("b").textContent(), "4,0");
  const heights = await fun.locator(".scale__column").evaluateAll((columns) => columns.map(({ style }) => Number(style.transform.slice(7, -1))));
  assert.deepEqual(heights, [0, 0, 0.5, 1, 0.5]);
  assert.match(await page.locator(".stage-panel__pod").textContent(), /^Réponse de \w+$/);
});

test("a clock says how long the live has been on air", async (t) => {
  const { page } = await onAir(t, "clock");
  const time = page.locator(".top__time");
  await time.waitFor();
  const [before] = [await time.textContent()];
  assert.match(before, /^00:00:\d\d$/);
  assert.match(await page.locator(".top__air").textContent(), /^En direct/);
  await until("another second", async () => (await time.textContent()) > before, 3_000);
});

test("a closing is announced with the channel's delay, counted down, and taken back", async (t) => {
  const { page, jeux } = await onAir(t, "announced", { delay_ms: 30_000 });
  await button(page, "phase").filter({ hasText: "Fermer (30 s)" }).click();
  await until("the countdown", async () => /Fermeture dans (30|29) s/.test(await place(page, jeux[0]).textContent()));
  // The way to the next jeu counts down as well.
  assert.match(await button(page, "next").textContent(), /Les Brumes de Valmère · dans \d+ s/);
  await until("it goes down", async () => /Fermeture dans 28 s/.test(await place(page, jeux[0]).textContent()));
  await button(page, "phase").filter({ hasText: "Annuler la fermeture" }).click();
  await until("open", async () => /Votes ouverts/.test(await place(page, jeux[0]).textContent()));
});

test("close now asks first, and a closed jeu can be opened again for 30 s by one button that counts", async (t) => {
  const { page, jeux } = await onAir(t, "undo");
  await button(page, "close-now").click();
  assert.match(await place(page, jeux[0]).textContent(), /Votes ouverts/, "the first press only asks");
  await button(page, "close-now").filter({ hasText: "Sans délai" }).click();
  await until("final", async () => /Résultat final/.test(await place(page, jeux[0]).textContent()));
  const undo = button(page, "phase");
  await until("seconds", async () => /Annuler la fermeture\s*(30|29) s/.test(await undo.textContent()));
  await until("fewer seconds", async () => /Annuler la fermeture\s*28 s/.test(await undo.textContent()));
  await undo.click();
  await until("open again", async () => /Votes ouverts/.test(await place(page, jeux[0]).textContent()));
});

test("after the 30 s a final jeu offers to reopen instead", async (t) => {
  // The server says that it closed 27 s earlier than it did, so that nobody has to wait.
  const aged = (text) => text.replace(/"closed_at_us":(\d+)/g, (_, us) => `"closed_at_us":${Number(us) - 27e6}`);
  const prepare = (context) => context.routeWebSocket(/\/ws\//, (socket) => {
    const upstream = socket.connectToServer();
    upstream.onMessage((message) => socket.send(aged(String(message))));
  });
  const { page, jeux, live_id } = await onAir(t, "later", { page: { prepare } });
  await server.api("POST", `admin/lives/${live_id}/jeux/${jeux[0]}/close`, { delay_ms: 0 });
  await button(page, "phase").filter({ hasText: "Annuler la fermeture" }).waitFor();
  await button(page, "phase").filter({ hasText: /^Rouvrir/ }).click();
  await until("open again", async () => /Votes ouverts/.test(await place(page, jeux[0]).textContent()));
});

test("next goes on, and the jeu left behind keeps its own card until it is closed for good", async (t) => {
  const { page, jeux } = await onAir(t, "next", { delay_ms: 20_000 });
  await button(page, "next").click();
  await title(page).filter({ hasText: "Les Brumes de Valmère" }).waitFor();
  const left = card(page, jeux[0]);
  await left.getByRole("button", { name: /Annuler la fermeture/ }).click();
  await title(page).filter({ hasText: "Ultraroute 94" }).waitFor();
  await until("both open", async () => (await page.locator('.programme__row[data-phase="open"]').count()) === 2);
});

test("several jeux are open at once, each with its own numbers and buttons", async (t) => {
  const { page, jeux, live_id } = await onAir(t, "several");
  for (const jeu of [jeux[1], jeux[2]]) {
    await head(page, jeu).click();
    await row(page, jeu).getByRole("button", { name: "Ouvrir", exact: true }).click();
    await until("open", async () => (await row(page, jeu).getAttribute("data-phase")) === "open");
  }
  assert.equal(await page.locator(".jeu-card:visible").count(), 3);
  await server.vote({ live_id, jeu_id: jeux[0], fun: 5 });
  await server.vote({ live_id, jeu_id: jeux[1], fun: 1 });
  await until("its own numbers", async () => (await value(page, jeux[0], 0).textContent()) === "5,0" && (await value(page, jeux[1], 0).textContent()) === "1,0");
  assert.equal(await title(page).textContent(), "Petite Forge", "what was opened last is on screen");
  await card(page, jeux[1]).getByRole("button", { name: "Mettre à l’écran" }).click();
  await title(page).filter({ hasText: "Les Brumes de Valmère" }).waitFor();
  await card(page, jeux[0]).getByRole("button", { name: "Fermer (5 s)" }).click();
  await until("only that one closes", async () => (await row(page, jeux[0]).getAttribute("data-moment")) === "closing");
  assert.equal(await row(page, jeux[2]).getAttribute("data-moment"), "open");
});

test("the announced end of a live can be taken back, and an ended live opened again for 30 s", async (t) => {
  const { page, jeux, live_id } = await onAir(t, "ending", { delay_ms: 30_000, open_jeux: "all" });
  await server.vote({ live_id, jeu_id: jeux[1], fun: 5 });
  await button(page, "close-live").click();
  await button(page, "close-live").filter({ hasText: "pour de bon" }).click();
  await page.getByText(/Le live se termine dans \d+ s/).waitFor();
  await page.getByRole("button", { name: "Annuler la fin du live" }).click();
  await page.getByText(/Le live se termine dans \d+ s/).waitFor({ state: "hidden" });
  await until("all are open", async () => (await page.locator('.programme__row[data-moment="open"]').count()) === 3);
  assert.equal(await title(page).textContent(), "Ultraroute 94", "what was on screen still is");
  await server.api("POST", `admin/lives/${live_id}/close`, { delay_ms: 0 });
  const idle = page.locator("admin-idle");
  await idle.getByText("Live terminé", { exact: false }).waitFor();
  assert.match(await idle.locator(".idle__row").first().textContent(), /Les Brumes de Valmère.*5,0/s, "the ranking begins with the best");
  await until("seconds", async () => /Annuler la fin du live\s*\d+ s/.test(await idle.locator('[data-focus="undo"]').textContent()));
  await idle.locator('[data-focus="undo"]').click();
  await title(page).filter({ hasText: "Ultraroute 94" }).waitFor();
  await until("the jeux it closed are open", async () => (await page.locator('.programme__row[data-phase="open"]').count()) === 3);
});

test("a double click on next goes on by one jeu only", async (t) => {
  const { page } = await onAir(t, "double", { jeux: ["Un", "Deux", "Trois", "Quatre"] });
  await button(page, "next").dblclick();
  await title(page).filter({ hasText: "Deux" }).waitFor();
  // What comes after is driven by hand: were the second click counted, this would go to the fourth.
  await button(page, "next").filter({ hasText: "Trois" }).click();
  await title(page).filter({ hasText: "Trois" }).waitFor();
});

test("test mode shows a made-up live that says so, drives nothing and can be stopped", async (t) => {
  await server.api("POST", "admin/channels", { slug: "rehearsal", title: "Répétition" });
  const page = await openConsole(server, browser, "rehearsal");
  t.after(() => page.context().close());
  await page.locator('[data-tab="live"]').click();
  const lever = page.getByRole("switch", { name: /Essai.+votes inventés, rien n’est enregistré/ });
  await lever.click();
  await until("made-up votes", async () => Number(await page.locator(".jeu-card.is-large .jeu-card__value").nth(1).textContent()) > 0, 10_000);
  assert.equal(await lever.getAttribute("aria-checked"), "true");
  assert.match(await page.locator(".top__air").textContent(), /^Essai/);
  const left = /^Encore 1[45]:\d\d$/;
  assert.match(await page.locator(".test-mode__left").textContent(), left);
  const other = await openConsole(server, browser, "rehearsal");
  t.after(() => other.context().close());
  await other.locator('[data-tab="live"]').click();
  await until("whoever did not begin it sees how long it lasts", async () => left.test(await other.locator(".test-mode__left").textContent()));
  assert.equal(await other.locator(".stage-panel__ends:visible").count(), 0, "no live is ending");
  assert.equal(await page.locator("admin-stage button:visible, admin-programme button:visible:enabled").count(), 0, "nothing of it can be driven");
  await page.getByRole("button", { name: "Arrêter l’essai" }).click();
  await page.getByRole("heading", { name: "Aucun live en cours" }).waitFor();
  assert.equal((await server.api("GET", "admin/channels/rehearsal/lives")).length, 0);
});
