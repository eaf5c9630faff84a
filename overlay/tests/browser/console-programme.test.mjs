import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openBrowser } from "./support/browser.mjs";
import { head, openConsole, order, row } from "./support/console.mjs";
import { Server, until } from "./support/server.mjs";

const JEUX = ["Un", "Deux", "Trois", "Quatre", "Cinq"];

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
});
after(async () => {
  await browser.close();
  await server.stop();
});

async function onAir(t, slug, more) {
  const seeded = await server.seed({ slug, jeux: JEUX });
  const page = await openConsole(server, browser, slug, more);
  t.after(() => page.context().close());
  await head(page, seeded.jeux[4]).waitFor();
  return { ...seeded, page };
}

const onServer = async (live_id) => (await server.api("GET", `admin/lives/${live_id}`)).programme.map(({ title }) => title);
const becomes = (live_id, page, wanted) => until(wanted.join(), async () => (await onServer(live_id)).join() === wanted.join() && (await order(page)).join() === wanted.join());
const grip = (page, jeu) => row(page, jeu).locator("[data-grip]");

async function middle(locator) {
  const { x, y, width, height } = await locator.boundingBox();
  return [x + width / 2, y + height / 2];
}

test("a jeu is dragged to another place with the mouse", async (t) => {
  const { page, jeux, live_id } = await onAir(t, "mouse");
  await grip(page, jeux[4]).scrollIntoViewIfNeeded();
  await page.mouse.move(...(await middle(grip(page, jeux[4]))));
  await page.mouse.down();
  const [x, y] = await middle(head(page, jeux[1]));
  await page.mouse.move(x, y + 10, { steps: 4 });
  await page.mouse.move(x, y - 8, { steps: 4 });
  assert.match(await row(page, jeux[1]).getAttribute("style"), /translateY/, "the others make room");
  await page.mouse.up();
  await becomes(live_id, page, ["Un", "Cinq", "Deux", "Trois", "Quatre"]);
});

test("a jeu is dragged with a finger, in a dock, while the page does not scroll away", async (t) => {
  const { page, jeux, live_id } = await onAir(t, "finger", { hasTouch: true });
  await grip(page, jeux[4]).scrollIntoViewIfNeeded();
  const session = await page.context().newCDPSession(page);
  const touch = (type, ...points) => session.send("Input.dispatchTouchEvent", { type, touchPoints: points.map(([x, y]) => ({ x, y })) });
  const [x, from] = await middle(grip(page, jeux[2]));
  const [, to] = await middle(grip(page, jeux[4]));
  const scrolled = await page.evaluate(() => scrollY);
  await touch("touchStart", [x, from]);
  for (let at = from; at <= to + 10; at += 10) await touch("touchMove", [x, at]);
  assert.equal(await page.evaluate(() => scrollY), scrolled);
  await touch("touchEnd");
  await becomes(live_id, page, ["Un", "Deux", "Quatre", "Cinq", "Trois"]);
});

test("Escape lets go of a dragged jeu where it was", async (t) => {
  const { page, jeux, live_id } = await onAir(t, "escape");
  await grip(page, jeux[4]).scrollIntoViewIfNeeded();
  await page.mouse.move(...(await middle(grip(page, jeux[4]))));
  await page.mouse.down();
  await page.mouse.move(...(await middle(head(page, jeux[1]))), { steps: 4 });
  await page.keyboard.press("Escape");
  await page.mouse.up();
  assert.equal(await page.locator(".is-dragged, .is-dragging").count(), 0);
  assert.deepEqual(await onServer(live_id), JEUX);
});

test("Alt and arrows move a jeu, say where it is, and keep the focus on it", async (t) => {
  const { page, jeux, live_id } = await onAir(t, "keys");
  await head(page, jeux[4]).focus();
  await page.keyboard.press("Alt+ArrowUp");
  await page.keyboard.press("Alt+ArrowUp");
  await page.keyboard.press("Alt+ArrowUp");
  await becomes(live_id, page, ["Un", "Cinq", "Deux", "Trois", "Quatre"]);
  await page.locator('[role="status"]', { hasText: /^Cinq\s: place 2 sur 5/ }).waitFor({ state: "attached" });
  assert.ok(await head(page, jeux[4]).evaluate((element) => element === document.activeElement));
  await page.keyboard.press("Alt+ArrowDown");
  await becomes(live_id, page, ["Un", "Deux", "Cinq", "Trois", "Quatre"]);
});

test("buttons move a jeu up and down, take a pending one out, and add several at once", async (t) => {
  const { page, jeux, live_id } = await onAir(t, "buttons");
  await head(page, jeux[2]).click();
  await row(page, jeux[2]).getByRole("button", { name: "Descendre" }).click();
  await becomes(live_id, page, ["Un", "Deux", "Quatre", "Trois", "Cinq"]);
  await row(page, jeux[2]).getByRole("button", { name: "Retirer" }).click();
  assert.equal((await onServer(live_id)).length, 5, "the first press only asks");
  await row(page, jeux[2]).getByRole("button", { name: "Retirer ? Touchez encore" }).or(row(page, jeux[2]).locator(".is-asking")).click();
  await becomes(live_id, page, ["Un", "Deux", "Quatre", "Cinq"]);
  await page.getByLabel("Ajouter au programme").fill("Six\n\n  Sept  \nUn");
  await page.locator("admin-programme").getByRole("button", { name: "Ajouter" }).click();
  await becomes(live_id, page, ["Un", "Deux", "Quatre", "Cinq", "Six", "Sept"]);
});

test("two who change the programme at the same moment both get what they asked for", async (t) => {
  const { page: one, jeux, live_id } = await onAir(t, "both");
  const two = await openConsole(server, browser, "both");
  t.after(() => two.context().close());
  await head(two, jeux[4]).waitFor();
  // The second one's page does not hear of the first one's change before it sends its own.
  await two.route("**/api/admin/lives/*", async (route) => {
    await head(one, jeux[4]).focus();
    await one.keyboard.press("Alt+ArrowUp");
    await until("the first change", async () => (await onServer(live_id)).join() === "Un,Deux,Trois,Cinq,Quatre");
    await route.continue();
  }, { times: 1 });
  await two.getByLabel("Ajouter au programme").fill("Six");
  await two.locator("admin-programme").getByRole("button", { name: "Ajouter" }).click();
  const wanted = ["Un", "Deux", "Trois", "Cinq", "Quatre", "Six"];
  await becomes(live_id, one, wanted);
  await becomes(live_id, two, wanted);
});
