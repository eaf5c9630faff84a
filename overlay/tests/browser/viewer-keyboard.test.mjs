// Whole votes without a mouse, and what somebody hears who does not see the page.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { noteBar, openBrowser, openPage, step } from "./support/browser.mjs";
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

/** What has the keyboard, in words. */
const focused = (page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    const critere = element?.closest("critere-field")?.getAttribute("data-critere");
    return critere ? `${critere} ${element.value || "sans avis"}` : element?.textContent?.trim();
  });

async function tabTo(page, wanted) {
  const met = [];
  for (let press = 0; press < 40; press += 1) {
    await page.keyboard.press("Tab");
    met.push(await focused(page));
    if (wanted(met.at(-1))) return met.at(-1);
  }
  assert.fail(`the Tab key met only: ${met.join(", ")}`);
}

const saved = (page) => page.locator('.note-bar[data-status="saved"]').waitFor();
const results = async (live) => (await server.api("GET", `lives/${live}/results`)).jeux;

/** Keeps everything the live region says. */
async function listen(page) {
  await page.locator('[role="status"].sr-only').waitFor({ state: "attached" });
  await page.evaluate(() => {
    window.heard = [];
    const region = document.querySelector('[role="status"].sr-only');
    new MutationObserver(() => region.textContent && window.heard.push(region.textContent)).observe(region, { childList: true });
  });
  return () => page.evaluate(() => window.heard);
}

test("a whole vote by keyboard: scores by arrows, sans avis, withdraw, another jeu and back", async () => {
  const { live_id, jeux } = await server.seed({ slug: "clavier", open_jeux: "all" });
  const page = await openPage(browser, `${server.origin}/clavier`);
  await step(page, "fun", 1).waitFor({ state: "attached" });
  await tabTo(page, (where) => where?.startsWith("fun"));
  await page.keyboard.press("Space");
  for (let press = 0; press < 3; press += 1) await page.keyboard.press("ArrowRight");
  await until("fun 4", async () => (await results(live_id))[0].mean === 4);
  await tabTo(page, (where) => where?.startsWith("graph"));
  await page.keyboard.press("Space");
  await page.keyboard.press("ArrowRight");
  await until("graph 2", async () => (await results(live_id))[0].mean === 3);
  // One key to the left of the lowest score is the end of the group: "sans avis".
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowLeft");
  assert.equal(await focused(page), "graph sans avis");
  await until("only fun counts", async () => (await results(live_id))[0].mean === 4);
  await saved(page);
  await tabTo(page, (where) => where === "Retirer");
  await page.keyboard.press("Enter");
  await until("nothing counts", async () => (await results(live_id))[0].voters === 0);
  await until("withdrawn", async () => (await noteBar(page).textContent()) === "Note retirée");
  await until("the keyboard is not lost", async () => (await focused(page)) === "Ultraroute 94");
  await tabTo(page, (where) => where?.includes("Petite Forge"));
  await page.keyboard.press("Enter");
  await until("the keyboard is at the other jeu", async () => (await focused(page)) === "Petite Forge");
  await tabTo(page, (where) => where?.startsWith("fun"));
  await page.keyboard.press("Space");
  await saved(page);
  await until("a vote on the third jeu", async () => (await results(live_id))[2].voters === 1);
  await page.keyboard.press("Shift+Tab");
  assert.match(await focused(page), /En ce moment.*Ultraroute 94/u);
  await page.keyboard.press("Enter");
  await until("the current jeu again", async () => (await focused(page)) === "Ultraroute 94");
  assert.deepEqual((await results(live_id)).map(({ jeu_id, voters }) => [jeu_id, voters]), jeux.map((jeu, index) => [jeu, index === 2 ? 1 : 0]));
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("a slider takes arrows, and a key takes the score where it waits; sans avis takes it back", async () => {
  const { live_id } = await server.seed({ slug: "curseur", preset: 3 });
  const page = await openPage(browser, `${server.origin}/curseur`);
  await page.getByRole("slider", { name: "Fun" }).focus();
  await page.keyboard.press("Enter");
  await saved(page);
  const [waiting] = await results(live_id);
  assert.ok(waiting.mean > 0 && waiting.mean < 20, String(waiting.mean));
  await page.keyboard.press("ArrowRight");
  await until("one more", async () => (await results(live_id))[0].mean === waiting.mean + 1);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "sans avis");
  await page.keyboard.press("Space");
  await until("taken back", async () => (await results(live_id))[0].voters === 0);
  await until("the button to say so", () => page.evaluate(() => document.activeElement.getAttribute("aria-pressed") === "true"));
  await page.context().close();
});

test("criteres are groups with names, and their ends are said with the scores", async () => {
  await server.seed({ slug: "noms" });
  const page = await openPage(browser, `${server.origin}/noms`);
  const fun = page.getByRole("group", { name: "Fun" });
  await fun.getByRole("radio", { name: "1, soporifique" }).waitFor({ state: "attached" });
  assert.equal(await fun.getByRole("radio").count(), 6);
  await fun.getByRole("radio", { name: "5, irrésistible" }).waitFor({ state: "attached" });
  await fun.getByRole("radio", { name: "sans avis" }).waitFor({ state: "attached" });
  assert.equal(await page.getByRole("heading", { level: 1 }).textContent(), "Ultraroute 94");
  await page.context().close();
});

test("what changes is said once: saved, the phases, the next jeu; means are not", async () => {
  const { live_id, jeux } = await server.seed({ slug: "oreille" });
  const page = await openPage(browser, `${server.origin}/oreille`);
  await step(page, "fun", 2).waitFor({ state: "attached" });
  const heard = await listen(page);
  await step(page, "fun", 4).check();
  await until("saved", async () => (await heard()).length === 1);
  await step(page, "fun", 5).check();
  await until("saved again", async () => (await heard()).length === 2);
  for (let vote = 0; vote < 5; vote += 1) await server.vote({ live_id, jeu_id: jeux[0], fun: 1 });
  await until("six votes", async () => (await page.locator(".jeu-head__votes").textContent()).includes("6 votes"));
  await server.api("POST", `admin/lives/${live_id}/jeux/${jeux[0]}/close`, { delay_ms: 2500 });
  await until("the result", async () => (await heard()).some((words) => words.includes("Résultat final")));
  await server.api("POST", `admin/lives/${live_id}/next`);
  await until("the next jeu", async () => (await heard()).some((words) => words.includes("Les Brumes de Valmère")));
  const said = await heard();
  assert.deepEqual(said.slice(0, 2), ["Enregistré", "Enregistré"]);
  assert.equal(said.filter((words) => words.includes("Fermeture")).length, 1, said.join(" | "));
  assert.ok(said.length <= 7, said.join(" | "));
  await page.context().close();
});

test("what the keyboard is on is framed, and every target is at least 44 pixels high", async () => {
  await server.seed({ slug: "cibles", open_jeux: "all" });
  for (const width of [320, 390, 1280]) {
    const page = await openPage(browser, `${server.origin}/cibles`, { viewport: { width, height: 800 } });
    await step(page, "fun", 2).check();
    await saved(page);
    const small = await page.evaluate(() => {
      const targets = [...document.querySelectorAll("button, .step, .critere__none")].filter((element) => element.checkVisibility());
      return targets.map((element) => [element.className, element.getBoundingClientRect()]).filter(([, box]) => box.height < 44 || box.width < 44).map(([name, box]) => `${name} ${box.width} × ${box.height}`);
    });
    assert.deepEqual(small, [], `${width}`);
    await page.keyboard.press("Tab");
    for (let press = 0; press < 12; press += 1) {
      const frame = await page.evaluate(() => {
        const element = document.activeElement;
        const drawn = element.closest(".step, .critere__none") ?? element;
        const style = getComputedStyle(drawn);
        const box = drawn.getBoundingClientRect();
        return { what: drawn.className || drawn.tagName, width: parseFloat(style.outlineWidth), style: style.outlineStyle, top: box.top, bottom: box.bottom,  scrolls: document.documentElement.scrollWidth > innerWidth };
      });
      if (frame.what === "BODY") break;
      assert.ok(frame.width >= 2 && frame.style !== "none" && frame.top >= 0 && frame.bottom <= 800 && !frame.scrolls, JSON.stringify(frame));
      await page.keyboard.press("Tab");
    }
    await page.context().close();
  }
});

test("nothing moves for those who asked for less motion", async () => {
  const { live_id, jeux } = await server.seed({ slug: "calme" });
  const page = await openPage(browser, `${server.origin}/calme`, { reducedMotion: "reduce" });
  await step(page, "fun", 2).check();
  await saved(page);
  await server.api("POST", `admin/lives/${live_id}/jeux/${jeux[0]}/close`, { delay_ms: 4000 });
  await page.getByText(/Fermeture dans \d s/).first().waitFor();
  const moving = await page.evaluate(() => document.getAnimations().filter(({ effect }) => effect.target.checkVisibility()).map(({ effect }) => effect.target.className));
  assert.deepEqual(moving, []);
  await page.context().close();
});
