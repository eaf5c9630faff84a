// How the overlay moves: transform and opacity only, numbers that never overshoot, moments in their order, and nothing
// at all for those who want none.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { OBS, openBrowser, openPage } from "./support/browser.mjs";
import { onStage, THEMES } from "./support/overlay.mjs";
import { Server, sleep, until } from "./support/server.mjs";

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
});
after(async () => {
  await browser.close();
  await server.stop();
});

/** The demo takes fifty seconds; its clock runs this many times faster here. Movements take their own time. */
const FASTER = 5;
const LOOP_MS = 50_500;

/** Opens the demo and notes, at each frame, what is animated and which moments are shown. */
async function watchDemo(theme, query = "", more = {}) {
  const page = await openPage(browser, "about:blank", { viewport: OBS, ...more });
  await page.addInitScript((faster) => {
    const now = performance.now.bind(performance);
    performance.now = () => now() * faster;
    window.seen = { properties: new Set(), animated: new Set(), moments: new Set(), longest: 0 };
    const look = () => {
      const panel = document.querySelector(".overlay__panel:not([hidden]) > .panel");
      if (panel) window.seen.moments.add(panel.matches(".ranking") ? "ranking" : panel.classList.contains("is-stale") ? "stale" : panel.dataset.moment);
      for (const animation of document.getAnimations()) {
        const { target } = animation.effect;
        window.seen.animated.add(target.className.split(" ").at(-1) || target.localName);
        for (const frame of animation.effect.getKeyframes()) {
          for (const name of Object.keys(frame)) if (!["offset", "computedOffset", "easing", "composite"].includes(name)) window.seen.properties.add(name);
        }
      }
      requestAnimationFrame(look);
    };
    look();
  }, FASTER);
  await page.goto(`${server.origin}/overlay/nobody?demo=on&theme=${theme}${query}`);
  return page;
}
const seenBy = (page) => page.evaluate(() => Object.fromEntries(Object.entries(window.seen).map(([key, value]) => [key, value instanceof Set ? [...value].sort() : value])));

test("over the whole demo only transform and opacity are animated, in every theme", async () => {
  const pages = await Promise.all(THEMES.map((theme) => watchDemo(theme)));
  await sleep(LOOP_MS / FASTER + 500);
  for (const [index, page] of pages.entries()) {
    const { properties, animated, moments } = await seenBy(page);
    assert.deepEqual(properties, ["opacity", "transform"], THEMES[index]);
    assert.deepEqual(moments, ["closing", "final", "finalising", "open", "pending", "ranking", "stale"], THEMES[index]);
    for (const name of ["overlay__panel", `${THEMES[index]}__mean`, `${THEMES[index]}__line`, "ranking__row", "is-new", "bar__fill"]) {
      assert.ok(name === "bar__fill" && THEMES[index] !== "band" ? true : animated.includes(name), `${THEMES[index]}: ${name} in ${animated}`);
    }
    assert.deepEqual(page.problems, []);
    await page.context().close();
  }
});

test("with motion=off, and for those who prefer reduced motion, nothing is animated", async () => {
  const pages = await Promise.all([watchDemo("card", "&motion=off"), watchDemo("band", "", { reducedMotion: "reduce" }), watchDemo("pill", "&motion=off")]);
  await sleep(LOOP_MS / FASTER + 500);
  for (const page of pages) {
    const { animated, moments } = await seenBy(page);
    assert.deepEqual(animated, []);
    assert.equal(moments.length, 7, String(moments));
    await page.context().close();
  }
});

test("the mean glides to its new value within 400 ms and never past it", async () => {
  const { overlay, live_id, jeux } = await server.seed();
  await server.vote({ live_id, jeu_id: jeux[0], fun: 1 });
  const page = await openPage(browser, `${server.origin}${overlay}&lang=en`, { viewport: OBS });
  const mean = page.locator(".panel__mean");
  await until("1.0", async () => (await mean.textContent()) === "1.0");
  await mean.evaluate((element) => {
    window.shown = [];
    new MutationObserver(() => window.shown.push([Number(element.textContent), performance.now()])).observe(element, { childList: true, characterData: true, subtree: true });
  });
  await server.vote({ live_id, jeu_id: jeux[0], fun: 5 });
  await until("3.0", async () => (await mean.textContent()) === "3.0");
  const shown = await page.evaluate(() => window.shown);
  const values = shown.map(([value]) => value);
  assert.ok(values.length > 2, `it counts up: ${values}`);
  assert.deepEqual(values, [...values].sort((a, b) => a - b));
  assert.equal(values.at(-1), 3);
  const took = shown.at(-1)[1] - shown[0][1];
  assert.ok(took <= 400, `${took} ms`);
  await page.context().close();
});

test("closing, counting, result, next jeu and ranking come one after the other", async () => {
  const { overlay, live_id, jeux } = await server.seed({ slug: "suite" });
  for (const fun of [4, 5]) await server.vote({ live_id, jeu_id: jeux[0], fun });
  const page = await openPage(browser, `${server.origin}${overlay}&lang=fr`, { viewport: OBS });
  await onStage(page);
  await page.evaluate(() => {
    window.log = [];
    const note = (what) => window.log.at(-1) !== what && window.log.push(what);
    const look = () => {
      const panel = document.querySelector(".overlay__panel > .panel");
      const moment = panel.matches(".ranking") ? "ranking" : `${panel.querySelector(".panel__title").textContent} ${panel.dataset.moment}`;
      const box = panel.parentElement.getAnimations()[0]?.effect.getKeyframes()[0];
      note(moment + (box ? (box.opacity === "1" ? " leaves" : " comes") : ""));
      if (panel.querySelector(".panel__mean")?.getAnimations().length) window.grew = (window.grew ?? new Set()).add(moment);
      requestAnimationFrame(look);
    };
    look();
  });
  await server.api("POST", `admin/lives/${live_id}/jeux/${jeux[0]}/close`, { delay_ms: 2_500 });
  const phase = page.locator(".panel__phase");
  for (const seconds of [3, 2, 1]) await until(`${seconds} s`, async () => (await phase.textContent()) === `Fermeture dans ${seconds} s`);
  const line = () => page.locator(".panel__line").evaluate((element) => new DOMMatrix(getComputedStyle(element).transform).a);
  assert.ok((await line()) < 0.45, "the line runs out");
  await until("the result", async () => (await phase.textContent()) === "Résultat final");
  await until("the line is gone", async () => (await line()) === 0);
  await server.api("POST", `admin/lives/${live_id}/next`);
  const title = page.locator(".panel__title");
  await until("the next jeu", async () => (await title.textContent()) === "Les Brumes de Valmère");
  await server.vote({ live_id, jeu_id: jeux[1], fun: 2 });
  await server.api("POST", `admin/lives/${live_id}/close`, { delay_ms: 0 });
  await page.locator("overlay-ranking").waitFor({ timeout: 12_000 });
  await onStage(page);
  const rows = await page.locator(".ranking__row").evaluateAll((all) => all.map((row) => [row.classList.contains("is-winner"), row.innerText.split(/\s*\n\s*/).join(" ")]));
  assert.deepEqual(rows, [[true, "1 Ultraroute 94 4,5"], [false, "2 Les Brumes de Valmère 2,0"]]);
  assert.equal(await page.locator(".ranking__total").textContent(), "2 jeux · 3 notes");
  const log = await page.evaluate(() => window.log);
  const order = ["Ultraroute 94 open", "Ultraroute 94 closing", "Ultraroute 94 final", "Ultraroute 94 final leaves", "Les Brumes de Valmère open comes", "Les Brumes de Valmère final", "Les Brumes de Valmère final leaves", "ranking comes", "ranking"];
  assert.deepEqual(order.filter((what) => !log.includes(what)), [], String(log));
  const places = order.map((what) => log.indexOf(what));
  assert.deepEqual(places, [...places].sort((a, b) => a - b), String(log));
  assert.deepEqual(await page.evaluate(() => [...window.grew].sort()), ["Les Brumes de Valmère final", "Ultraroute 94 final"]);
  await page.context().close();
});
