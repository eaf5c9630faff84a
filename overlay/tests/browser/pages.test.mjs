import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { barSays, DOCK, OBS, openBrowser, openPage, overlayVotes, step } from "./support/browser.mjs";
import { Server, until } from "./support/server.mjs";

const NASTY = `<script>alert(1)</script><img src=x onerror=alert(2)>"'&amp; {{7*7}}`;

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
});
after(async () => {
  await browser.close();
  await server.stop();
});

test("markup in titles and labels is text on every page", async () => {
  const bareme = (preset) => ({
    ...preset,
    name: NASTY,
    criteres: preset.criteres.map((critere) => ({ ...critere, labels: { fr: NASTY, en: NASTY }, low: { fr: "<b>", en: "<b>" }, high: { fr: "</i>", en: "</i>" } })),
  });
  const { overlay } = await server.seed({ title: NASTY, jeux: [NASTY, "Deux"], live: { title: NASTY }, bareme });
  const viewer = await openPage(browser, `${server.origin}/max`);
  await step(viewer, "fun", 3).check();
  await barSays(viewer, "Enregistré");
  assert.equal(await viewer.locator(".jeu-head__title").textContent(), NASTY);
  assert.equal(await viewer.locator(".critere__label").first().textContent(), NASTY);
  const stage = await openPage(browser, server.origin + overlay, { viewport: OBS });
  await until("the title", async () => (await stage.locator(".card__title").textContent()) === NASTY);
  const home = await openPage(browser, server.origin);
  assert.equal((await home.locator(".lives__name").first().textContent()).trim(), NASTY);
  for (const page of [viewer, stage, home]) {
    assert.deepEqual(page.problems, []);
    assert.equal(await page.locator("img").count(), 0);
    await page.context().close();
  }
});

test("no request leaves the origin, and nothing is refused by the content policy", async () => {
  const { overlay } = await server.seed({ slug: "strict" });
  const paths = ["/", "/strict", overlay, "/admin", "/strict?lang=en"];
  for (const path of paths) {
    const page = await openPage(browser, server.origin + path, { viewport: path === overlay ? OBS : DOCK });
    await page.waitForLoadState("networkidle");
    if (path.startsWith("/strict")) {
      await step(page, "fun", 2).check();
      await page.locator('.note-bar[data-status="saved"]').waitFor();
    }
    // The page itself and its styles; where there is a script, that too.
    assert.ok(page.requests.length >= 2);
    for (const url of page.requests) assert.equal(new URL(url).host, `127.0.0.1:${server.port}`, url);
    // The admin page asks whether it is signed in, and is told that it is not.
    assert.deepEqual(page.problems.filter((text) => !text.includes("401")), [], path);
    await page.context().close();
  }
});

test("every page speaks the language of its URL, then of the browser", async () => {
  const { overlay } = await server.seed({ slug: "langues" });
  await server.vote({ channel: "langues", jeu_id: 1, fun: 4, graph: 5 });
  const words = {
    fr: { "/": "En direct maintenant", "/langues": "Votes ouverts", "/admin": "Premier démarrage", "/rien": "Page introuvable", [overlay]: "1 vote" },
    en: { "/": "Live now", "/langues": "Voting open", "/admin": "First start", "/rien": "Page not found", [overlay]: "1 vote" },
  };
  for (const lang of ["fr", "en"]) {
    for (const [path, text] of Object.entries(words[lang])) {
      for (const byUrl of [true, false]) {
        const url = byUrl ? `${path}${path.includes("?") ? "&" : "?"}lang=${lang}` : path;
        const locale = byUrl === (lang === "fr") ? "en-US" : "fr-FR";
        const page = await openPage(browser, server.origin + url, { locale });
        await page.getByText(text).filter({ visible: true }).first().waitFor();
        assert.equal(await page.locator("html").getAttribute("lang"), lang);
        const shown = await page.locator("body").innerText();
        assert.doesNotMatch(shown, /\b(viewer|admin|overlay|phase|note|link|home|missing|problem)\.[a-z_.]+\b/, `${lang} ${path}`);
        await page.context().close();
      }
    }
  }
  const stage = await openPage(browser, `${server.origin}${overlay}&lang=fr`, { viewport: OBS });
  await until("a decimal comma", async () => (await stage.locator(".card__mean").textContent()) === "4,5");
  await stage.context().close();
});

test("before, after and outside a live, pages say what is going on", async () => {
  const { live_id } = await server.seed({ slug: "cycle", open_jeux: null });
  const page = await openPage(browser, `${server.origin}/cycle`);
  await page.getByRole("heading", { name: "Pas encore de live" }).waitFor();
  await server.api("POST", `admin/lives/${live_id}/open`, { open_jeux: "none" });
  await page.getByText("Le premier vote commence bientôt", { exact: false }).waitFor();
  await server.api("POST", `admin/lives/${live_id}/next`);
  await step(page, "fun", 5).check();
  await barSays(page, "Enregistré");
  await server.api("POST", `admin/lives/${live_id}/close`, { delay_ms: 0 });
  await page.getByRole("heading", { name: "Le live est terminé" }).waitFor();
  await until("the result", async () => (await page.locator(".strip__mean").first().textContent()) === "5,0");
  const missing = await openPage(browser, `${server.origin}/pas-la`);
  await missing.getByText("Il n’y a pas de chaîne « pas-la » ici", { exact: false }).waitFor();
  await Promise.all([page.context().close(), missing.context().close()]);
});

test("the overlay fits its window and stays inside the safe area, with long titles too", async () => {
  const long = `${"Interminable ".repeat(5)}${"x".repeat(40)} 🎮 عنوان`;
  const { overlay } = await server.seed({ slug: "long", jeux: [long] });
  for (const viewport of [OBS, { width: 1920, height: 1080 }, { width: 400, height: 700 }]) {
    // Where it comes to rest: on its way there it moves.
    const stage = await openPage(browser, `${server.origin}${overlay}&motion=off`, { viewport });
    await overlayVotes(stage).waitFor();
    await until("placed", async () => (await stage.locator(".overlay__stage").evaluate((element) => element.style.transform)) !== "");
    const box = await stage.locator("overlay-card").boundingBox();
    const margin = 0.05 * viewport.width - 1;
    assert.ok(box.x >= margin && box.x + box.width <= viewport.width - margin, JSON.stringify(box));
    assert.ok(box.y >= 0.05 * viewport.height - 1 && box.y + box.height <= 0.95 * viewport.height + 1, JSON.stringify(box));
    assert.equal(await stage.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgba(0, 0, 0, 0)");
    await stage.context().close();
  }
});
