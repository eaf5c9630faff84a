// The overlay in OBS: its style sheets, its events, test lives, the QR code, and what is hidden on purpose.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { OBS, openBrowser, openPage } from "./support/browser.mjs";
import { onStage, THEMES, WINDOWS } from "./support/overlay.mjs";
import { Server, until } from "./support/server.mjs";

const OBS_CSS = "body { background-color: rgba(0, 0, 0, 0); margin: 0px auto; overflow: hidden; }";

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
});
after(async () => {
  await browser.close();
  await server.stop();
});

/** As obs-browser does when a page has loaded. */
const inject = (page, css) =>
  page.evaluate((text) => {
    const style = document.createElement("style");
    style.innerHTML = text;
    document.querySelector("head").appendChild(style);
  }, css);

const demo = (query, more = {}) => openPage(browser, `${server.origin}/overlay/nobody?lang=fr&demo=${query}`, { viewport: OBS, ...more });
const style = (page, selector, property) => page.locator(selector).first().evaluate((element, name) => getComputedStyle(element).getPropertyValue(name), property);
const box = (page) => page.locator(".panel").boundingBox();

test("the style sheet that OBS adds by itself changes nothing", async () => {
  for (const theme of THEMES) {
    const page = await demo(`open&theme=${theme}`);
    await onStage(page);
    const before = await box(page);
    await inject(page, OBS_CSS);
    assert.deepEqual(await box(page), before);
    assert.equal(await style(page, "body", "background-color"), "rgba(0, 0, 0, 0)");
    assert.deepEqual(page.problems, []);
    await page.context().close();
  }
});

test("custom CSS wins, over the URL too, and the text on its accent stays readable", async () => {
  const page = await demo("final&theme=band&accent=ffd400");
  await onStage(page);
  assert.equal(await style(page, ".band__block", "background-color"), "rgb(255, 212, 0)");
  assert.equal(await style(page, ".band__block", "color"), "rgb(16, 18, 24)");
  await inject(page, OBS_CSS);
  await inject(page, ":root { --accent: oklch(35% 0.15 265); --overlay-panel: #ffffff; --overlay-text: #101218; --radius: 0; } .panel__title { font-size: 30px; text-transform: uppercase } .band { width: 1000px } .band__block { padding: 4px }");
  await until("white on dark blue", async () => (await style(page, ".band__block", "color")) === "rgb(255, 255, 255)");
  assert.equal(await style(page, ".panel", "background-color"), "rgb(255, 255, 255)");
  assert.equal(await style(page, ".panel__title", "color"), "rgb(16, 18, 24)");
  assert.equal(await style(page, ".panel", "border-top-left-radius"), "0px");
  assert.equal(await style(page, ".panel__title", "font-size"), "30px");
  assert.equal(await style(page, ".panel__title", "text-transform"), "uppercase");
  assert.equal(await style(page, ".band__block", "padding-top"), "4px");
  await inject(page, ":root { --on-accent: rgb(1, 2, 3) }");
  await until("the streamer's own", async () => (await style(page, ".band__block", "color")) === "rgb(1, 2, 3)");
  await page.context().close();
});

test("the examples of custom CSS in the documentation do what they say", async () => {
  const text = readFileSync(new URL("../../../docs/overlay.md", import.meta.url), "utf8");
  const examples = [...text.matchAll(/```css\n(.*?)```/gs)].map(([, css]) => css);
  const expected = [
    { ".panel": ["border-top-left-radius", "0px"], ".scale__column.is-nearest": ["background-color", "rgb(124, 92, 255)"] },
    { ".panel": ["background-color", "rgba(255, 255, 255, 0.94)"], ".card__title": ["color", "rgb(16, 18, 24)"], ".card__votes": ["color", "rgb(85, 87, 95)"] },
    { ".panel": ["width", "420px"], ".card__title": ["text-transform", "uppercase"], ".card scale-histogram": ["display", "none"], ".card__mean": ["font-family", '"Bebas Neue", sans-serif'] },
  ];
  assert.equal(examples.length, expected.length);
  for (const [index, css] of examples.entries()) {
    const page = await demo("final", { viewport: WINDOWS.hd });
    await onStage(page);
    await inject(page, css);
    for (const [selector, [property, value]] of Object.entries(expected[index])) {
      await until(`${selector} ${property}`, async () => (await style(page, selector, property)) === value);
    }
    await page.context().close();
  }
});

test("an accent that cannot be read on the panel is lightened where it is text", async () => {
  const page = await demo("final&accent=101080");
  await onStage(page);
  const [r, g, b] = (await style(page, ".card__mean", "color")).match(/\d+/g).map(Number);
  assert.ok(r > 60 && g > 60 && b > 100, `${r} ${g} ${b}`);
  assert.equal(await style(page, ".scale__column.is-nearest", "background-color"), "rgb(16, 16, 128)");
  await page.context().close();
});

test("old numbers lose the accent and say so", async () => {
  for (const theme of THEMES) {
    const page = await demo(`stale&theme=${theme}`);
    await onStage(page);
    assert.equal(await page.locator(".panel__phase").textContent(), "reconnexion…");
    assert.ok(await page.locator(".panel__phase").isVisible());
    const accented = await page.locator(".panel").evaluate((panel) =>
      [panel, ...panel.querySelectorAll("*")].filter((element) => ["color", "backgroundColor"].some((name) => getComputedStyle(element)[name] === "rgb(255, 91, 53)")).length,
    );
    assert.equal(accented, 0, theme);
    await page.context().close();
  }
});

const tell = (page, event, detail) => page.evaluate(([name, given]) => window.dispatchEvent(new CustomEvent(name, { detail: given })), [event, detail]);

test("a source that is not visible stands still, and is right at once when it is seen again", async () => {
  const { overlay, live_id, jeux } = await server.seed();
  await server.vote({ live_id, jeu_id: jeux[0], fun: 1 });
  const page = await openPage(browser, "about:blank", { viewport: OBS });
  await page.addInitScript(() => {
    window.obsstudio = { pluginVersion: "2.24.0", getStatus: (call) => call({ streaming: false }) };
  });
  let frames = [];
  page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => frames.push(String(payload))));
  await page.goto(`${server.origin}${overlay}&lang=fr`);
  const votes = page.locator(".panel__votes");
  await until("a vote", async () => (await votes.textContent()) === "1 vote");
  await server.api("POST", `admin/lives/${live_id}/jeux/${jeux[0]}/close`, { delay_ms: 60_000 });
  await until("closing", async () => (await page.locator(".panel").getAttribute("data-moment")) === "closing");
  assert.ok((await page.evaluate(() => document.getAnimations().length)) > 0, "the line runs");

  await tell(page, "obsSourceVisibleChanged", { visible: false });
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
  frames = [];
  await server.vote({ live_id, jeu_id: jeux[0], fun: 5 });
  await until("the frame of the vote", () => frames.some((text) => text.includes('"voters":2')));
  await server.api("POST", `admin/lives/${live_id}/next`);
  await until("the frame of the next jeu", () => frames.some((text) => text.includes(`"current":${jeux[1]}`)));
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  assert.equal(await votes.textContent(), "1 vote", "nothing is drawn for nobody");
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);

  const seen = await page.evaluate(() => {
    window.dispatchEvent(new CustomEvent("obsSourceVisibleChanged", { detail: { visible: true } }));
    return { title: document.querySelector(".panel__title").textContent, animations: document.getAnimations().length };
  });
  assert.deepEqual(seen, { title: "Les Brumes de Valmère", animations: 0 });
  await server.vote({ live_id, jeu_id: jeux[1], fun: 4 });
  await until("it goes on", async () => (await votes.textContent()) === "1 vote");
  for (const event of ["obsSourceActiveChanged", "obsStreamingStarted", "obsStreamingStopped"]) await tell(page, event, { active: false });
  await server.vote({ live_id, jeu_id: jeux[1], fun: 4 });
  await until("and on", async () => (await votes.textContent()) === "2 votes");
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("a demo needs no key and opens no connection", async () => {
  const page = await openPage(browser, "about:blank", { viewport: OBS });
  const sockets = [];
  page.on("websocket", (socket) => sockets.push(socket.url()));
  const answer = await page.goto(`${server.origin}/overlay/nobody?demo=on`);
  assert.equal(answer.status(), 200);
  await onStage(page).catch(() => {});
  assert.equal(await page.locator(".overlay__tag").filter({ visible: true }).count(), 1, "made-up numbers that move are labelled");
  assert.deepEqual(sockets, []);
  assert.equal((await page.goto(`${server.origin}/overlay/nobody?demo=off`)).status(), 403);
  const typo = await openPage(browser, `${server.origin}/overlay/max?demo=opne&lang=fr`);
  await typo.getByText("Cette clé d’overlay n’est pas valable", { exact: false }).waitFor();
  await Promise.all([page.context().close(), typo.context().close()]);
});

test("a test live is labelled, in the language of the page, and the label goes with it", async () => {
  const { overlay, slug } = await server.seed({ slug: "essai", open_jeux: null });
  await server.api("POST", `admin/channels/${slug}/test-mode`, { on: true, votes_per_s: 20 });
  for (const [lang, label] of [["fr", "ESSAI"], ["en", "TEST"]]) {
    for (const theme of THEMES) {
      const page = await openPage(browser, `${server.origin}${overlay}&theme=${theme}&lang=${lang}`, { viewport: OBS });
      await page.locator(".overlay__tag").filter({ visible: true, hasText: label }).waitFor();
      if (theme === "pill" && lang === "en") {
        await server.api("POST", `admin/channels/${slug}/test-mode`, { on: false });
        await page.locator(".overlay__stage").waitFor({ state: "hidden" });
      }
      await page.context().close();
    }
  }
});

test("blind votes and votes below the minimum show no mean and say why", async () => {
  const blind = await server.seed({ slug: "aveugle", live: { blind: true } });
  await server.vote({ channel: "aveugle", jeu_id: blind.jeux[0], fun: 5 });
  const few = await server.seed({ slug: "peu", live: { minimum_votes: 10 } });
  await server.vote({ channel: "peu", jeu_id: few.jeux[0], fun: 5 });
  for (const [{ overlay }, votes, why] of [[blind, "1 vote", "Vote à l’aveugle"], [few, "1 / 10 votes", "Encore 9 votes"]]) {
    for (const theme of THEMES) {
      const page = await openPage(browser, `${server.origin}${overlay}&theme=${theme}&lang=fr`, { viewport: OBS });
      await page.locator(".panel__votes").filter({ visible: true, hasText: votes }).waitFor();
      if (theme === "card" || why.startsWith("Vote")) await page.locator(".panel__why").getByText(why).waitFor();
      assert.equal(await page.locator(".panel__mean").textContent(), "–");
      assert.doesNotMatch(await page.locator(".panel").innerText(), /\d,\d/);
      await page.context().close();
    }
  }
  await server.api("POST", `admin/lives/${blind.live_id}/jeux/${blind.jeux[0]}/close`, { delay_ms: 0 });
  const page = await openPage(browser, `${server.origin}${blind.overlay}&lang=fr`, { viewport: OBS });
  await until("the result", async () => (await page.locator(".card__mean").textContent()) === "5,0");
  await page.context().close();
});

test("the QR code and the address show when they are wanted, large enough for phones", async () => {
  const { overlay, live_id, jeux } = await server.seed({ slug: "telephone" });
  const look = async (query) => {
    const page = await openPage(browser, `${server.origin}${overlay}&lang=fr&${query}`, { viewport: WINDOWS.hd });
    await onStage(page);
    return page;
  };
  for (const theme of THEMES) {
    const page = await look(`qr=on&theme=${theme}`);
    const code = page.locator(".qr__code");
    await until("the code", () => code.evaluate((image) => image.complete && image.naturalWidth > 0));
    const { width, height, x, y } = await code.boundingBox();
    assert.ok(width >= 240 && height >= 240, `${width} × ${height}`);
    const panel = await box(page);
    assert.ok(x >= panel.x + panel.width || y + height <= panel.y, `${theme}: beside or above the panel`);
    assert.equal(await page.locator(".qr__address").textContent(), `127.0.0.1:${server.port}/telephone`);
    await page.context().close();
  }
  const page = await openPage(browser, "about:blank");
  for (const theme of THEMES) {
    for (const pos of ["tl", "c", "br"]) {
      await page.goto(`${server.origin}${overlay}&qr=on&motion=off&theme=${theme}&pos=${pos}`);
      for (const [size, viewport] of Object.entries(WINDOWS)) {
        await page.setViewportSize(viewport);
        await onStage(page);
        const [aside, panel] = [await page.locator("overlay-qr").boundingBox(), await box(page)];
        const where = `${size} ${theme} ${pos} ${JSON.stringify({ aside, panel })}`;
        for (const { x, y, width, height } of [aside, panel]) {
          assert.ok(x >= viewport.width * 0.05 - 1 && x + width <= viewport.width * 0.95 + 1, where);
          assert.ok(y >= viewport.height * 0.05 - 1 && y + height <= viewport.height * 0.95 + 1, where);
        }
        const apart = aside.x >= panel.x + panel.width || panel.x >= aside.x + aside.width || aside.y >= panel.y + panel.height || panel.y >= aside.y + aside.height;
        assert.ok(apart, where);
      }
    }
  }
  const off = await look("");
  assert.equal(await off.locator("overlay-qr").filter({ visible: true }).count(), 0);
  const idle = await look("qr=idle");
  assert.equal(await idle.locator("overlay-qr").filter({ visible: true }).count(), 0, "while people vote");
  await server.api("POST", `admin/lives/${live_id}/jeux/${jeux[0]}/close`, { delay_ms: 0 });
  await idle.locator("overlay-qr").filter({ visible: true }).waitFor();
  await server.api("POST", `admin/lives/${live_id}/close`, { delay_ms: 0 });
  await idle.locator("overlay-qr").waitFor({ state: "hidden" });
  const missing = await demo("open&qr=on", { viewport: WINDOWS.hd });
  await until("no broken image", async () => (await missing.locator(".qr__code").count()) === 0);
  assert.ok(await missing.locator(".qr__address").isVisible());
  for (const opened of [page, off, idle, missing]) await opened.context().close();
});
