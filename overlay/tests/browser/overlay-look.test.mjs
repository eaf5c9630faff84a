// What the overlay looks like whatever is in it: inside its window, inside its panel, and in one size.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { OBS, openBrowser, openPage } from "./support/browser.mjs";
import { onStage, THEMES, WINDOWS } from "./support/overlay.mjs";
import { Server, until } from "./support/server.mjs";

const ZALGO = [..."Zalgo vient"].map((letter) => letter + "\u0300\u0301\u0316\u0317\u0338\u0322\u0489".repeat(2)).join("");
const TITLES = [
  "Ico",
  "Les Brumes de Valmère",
  "Le très long périple de la dernière des gardiennes du phare au bout du monde, II",
  "x".repeat(80),
  "🎮👩‍👩‍👧‍👦🏳️‍🌈".repeat(7),
  "عنوان طويل جدا للعبة لا تنتهي أبدا ولا يعرف أحد كيف بدأت القصة في الأصل",
  "超長いゲームのタイトルは改行なしでどこまでも続くので枠からはみ出すかもしれない物語",
  ZALGO,
];

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
});
after(async () => {
  await browser.close();
  await server.stop();
});

/** Boxes of the panel, and of everything in it that has text of its own. */
function measure(page) {
  return page.evaluate(() => {
    const box = (element) => {
      const { left, top, right, bottom } = element.getBoundingClientRect();
      return { left, top, right, bottom };
    };
    const panel = document.querySelector(".overlay__panel > .panel");
    const withText = [...panel.querySelectorAll("*")].filter(
      (element) => [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data !== "") && element.checkVisibility(),
    );
    const scale = panel.getBoundingClientRect().width / panel.offsetWidth;
    return {
      panel: box(panel),
      window: { width: innerWidth, height: innerHeight },
      texts: withText.map((element) => ({
        name: element.className,
        box: box(element),
        cut: element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== "inline",
        clips: getComputedStyle(element).overflow === "hidden",
        size: parseFloat(getComputedStyle(element).fontSize) * scale,
      })),
    };
  });
}

function assertInside({ panel, window, texts }, where) {
  const [x, y] = [window.width * 0.05 - 0.6, window.height * 0.05 - 0.6];
  assert.ok(panel.left >= x && panel.right <= window.width - x, `${where}: safe area ${JSON.stringify(panel)}`);
  assert.ok(panel.top >= y && panel.bottom <= window.height - y, `${where}: safe area ${JSON.stringify(panel)}`);
  for (const { name, box, cut, clips } of texts) {
    const inside = box.left >= panel.left - 0.5 && box.right <= panel.right + 0.5 && box.top >= panel.top - 0.5 && box.bottom <= panel.bottom + 0.5;
    assert.ok(inside, `${where}: ${name} leaves its panel ${JSON.stringify({ box, panel })}`);
    assert.ok(!cut || clips, `${where}: ${name} is wider than its box`);
  }
}

const sizeOf = ({ panel }) => [panel.right - panel.left, panel.bottom - panel.top].map((length) => length.toFixed(1)).join(" × ");

test("titles of any kind stay inside, and no panel changes its size for one", async () => {
  const { overlay, live_id, jeux } = await server.seed({ jeux: TITLES, open_jeux: "all" });
  await server.vote({ live_id, jeu_id: jeux[0], fun: 4, graph: 5 });
  for (const theme of THEMES) {
    for (const [size, viewport] of Object.entries(WINDOWS)) {
      const page = await openPage(browser, `${server.origin}${overlay}&theme=${theme}&motion=off&lang=fr`, { viewport });
      const sizes = new Set();
      for (const [index, jeu] of jeux.entries()) {
        await server.api("POST", `admin/lives/${live_id}/current`, { jeu_id: jeu });
        await until(TITLES[index], async () => (await page.locator(".panel__title").textContent()) === TITLES[index]);
        await onStage(page);
        const measured = await measure(page);
        assertInside(measured, `${theme} ${size} "${TITLES[index].slice(0, 12)}"`);
        sizes.add(sizeOf(measured));
      }
      assert.equal(sizes.size, 1, `${theme} ${size}: ${[...sizes]}`);
      await page.context().close();
    }
  }
});

test("every moment has the panel of the same size, its text inside and 24 px at least", async () => {
  const page = await openPage(browser, `${server.origin}/overlay/nobody?demo=open`);
  for (const theme of THEMES) {
    const sizes = Object.fromEntries(Object.keys(WINDOWS).map((size) => [size, new Set()]));
    for (const lang of ["fr", "en"]) {
      for (const demo of ["pending", "open", "closing", "finalising", "final", "stale", "minimum", "blind"]) {
        await page.goto(`${server.origin}/overlay/nobody?demo=${demo}&theme=${theme}&lang=${lang}`);
        for (const [size, viewport] of Object.entries(WINDOWS)) {
          await page.setViewportSize(viewport);
          const measured = await measure(await onStage(page));
          assertInside(measured, `${theme} ${size} ${demo} ${lang}`);
          for (const { name, size: px } of measured.texts) assert.ok(px >= 23.9, `${theme} ${size} ${demo}: ${name} has ${px} px`);
          sizes[size].add(sizeOf(measured));
        }
      }
    }
    for (const [size, seen] of Object.entries(sizes)) assert.equal(seen.size, 1, `${theme} ${size}: ${[...seen]}`);
  }
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("numbers of any scale and up to twelve criteres stay inside", async () => {
  const twelve = (max) => (preset) => ({
    ...preset,
    criteres: Array.from({ length: 12 }, (_, index) => ({ ...preset.criteres[0], key: `c${index}`, min: 0, max, step: 1, labels: { fr: `Critère au nom long ${index}`, en: `c${index}` } })),
  });
  for (const max of [10, 100]) {
    const slug = `douze-${max}`;
    const { overlay, jeux } = await server.seed({ slug, bareme: twelve(max) });
    const scores = Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`c${index}`, max]));
    await server.vote({ channel: slug, jeu_id: jeux[0], ...scores });
    const page = await openPage(browser, "about:blank");
    for (const theme of THEMES) {
      await page.goto(`${server.origin}${overlay}&theme=${theme}&motion=off&lang=fr`);
      await until("the best mean", async () => (await page.locator(".panel__mean").textContent()) === (max === 10 ? "10,0" : "100"));
      for (const [size, viewport] of Object.entries(WINDOWS)) {
        await page.setViewportSize(viewport);
        assertInside(await measure(await onStage(page)), `${theme} ${size} /${max}`);
      }
    }
    await page.context().close();
  }
});

test("a panel keeps its size while votes come in and the mean moves", async () => {
  const { overlay, live_id, jeux } = await server.seed({ slug: "compte", live: { minimum_votes: 3 } });
  for (const theme of THEMES) {
    const page = await openPage(browser, `${server.origin}${overlay}&theme=${theme}&lang=fr`, { viewport: OBS });
    await onStage(page);
    const sizes = new Set([sizeOf(await measure(page))]);
    for (const fun of [1, 5, 5, 5]) {
      const before = await page.locator(".panel__votes").textContent();
      await server.vote({ live_id, jeu_id: jeux[0], fun });
      await until("the vote", async () => (await page.locator(".panel__votes").textContent()) !== before);
      sizes.add(sizeOf(await measure(page)));
    }
    assert.equal(sizes.size, 1, `${theme}: ${[...sizes]}`);
    await page.context().close();
  }
});

test("a panel stands where pos puts it, and unknown settings change nothing", async () => {
  const page = await openPage(browser, "about:blank", { viewport: WINDOWS.hd });
  const at = async (query) => {
    await page.goto(`${server.origin}/overlay/nobody?demo=open&theme=pill&${query}`);
    return (await measure(await onStage(page))).panel;
  };
  const [left, right, top, bottom] = [96, 1824, 54, 1026];
  const near = (a, b) => assert.ok(Math.abs(a - b) < 1, `${a} is not ${b}`);
  const checks = { l: (b) => near(b.left, left), r: (b) => near(b.right, right), t: (b) => near(b.top, top), b: (b) => near(b.bottom, bottom) };
  for (const pos of ["tl", "t", "tr", "l", "c", "r", "bl", "b", "br"]) {
    const box = await at(`pos=${pos}`);
    for (const side of pos.replace("c", "")) checks[side](box);
    if (!/[lr]/.test(pos)) near(box.left + box.right, 1920);
    if (!/[tb]/.test(pos)) near(box.top + box.bottom, 1080);
  }
  assert.deepEqual(await at("pos=middle&scale=huge&motion=maybe&accent=red&qr=yes&criteres=none"), await at(""));
  near((await at("scale=1.5")).bottom, bottom);
  await page.context().close();
});

test("the ranking shows as many jeux as there is room for, and counts the others", async () => {
  const names = Array.from({ length: 24 }, (_, index) => `${TITLES[index % TITLES.length]} ${index}`);
  const { overlay, live_id, jeux } = await server.seed({ slug: "marathon", jeux: names, open_jeux: "all" });
  for (const [index, jeu] of jeux.entries()) await server.vote({ live_id, jeu_id: jeu, fun: (index % 5) + 1, graph: (index % 3) + 1 });
  await server.api("POST", `admin/lives/${live_id}/close`, { delay_ms: 0 });
  for (const [size, viewport] of Object.entries(WINDOWS)) {
    const page = await openPage(browser, `${server.origin}${overlay}&lang=fr&motion=off`, { viewport });
    await page.locator("overlay-ranking").waitFor();
    assertInside(await measure(await onStage(page)), `ranking ${size}`);
    const shown = await page.locator(".ranking__row").filter({ visible: true }).count();
    const words = await page.locator(".ranking__more").textContent();
    assert.ok(shown >= 5 && shown < names.length, `${size}: ${shown} rows`);
    assert.equal(words, `et ${names.length - shown} autres jeux`);
    await page.context().close();
  }
});
