// What the server sends for the viewer page: how much, what of it before any script, and what not.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import ts from "typescript";
import { OBS, openBrowser, openPage, PHONE, step } from "./support/browser.mjs";
import { Server, until } from "./support/server.mjs";

/** Everything a phone fetches before its first vote, heads of the answers included. */
const MOST_BYTES = 40_000;

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser({ withIcons: true })]);
});
after(async () => {
  await browser.close();
  await server.stop();
});

/** Bytes on the wire by path, of a first visit. */
async function weigh(path, options) {
  const context = await browser.newContext({ viewport: PHONE, locale: "fr-FR", ...options });
  const page = await context.newPage();
  const devtools = await context.newCDPSession(page);
  await devtools.send("Network.enable");
  const asked = new Map();
  const bytes = new Map();
  devtools.on("Network.requestWillBeSent", ({ requestId, request }) => asked.set(requestId, new URL(request.url).pathname));
  devtools.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => bytes.set(asked.get(requestId), encodedDataLength));
  await page.goto(server.origin + path, { waitUntil: "networkidle" });
  const known = await page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => new URL(name).pathname));
  // The icon is fetched by the browser and not by the page: no tool of the page lists it.
  const awaited = [path, ...known.filter((name) => !name.startsWith("/ws/")), [...asked.values()].find((name) => name.endsWith("icon.svg"))];
  await until("every answer is in", () => awaited.every((name) => bytes.has(name)));
  await context.close();
  return bytes;
}

test("the viewer page with an open live weighs at most 40 KB over the wire in all, in both languages", async () => {
  const { live_id, jeux } = await server.seed({ slug: "leger", jeux: Array.from({ length: 8 }, (_, index) => `Un jeu au titre assez long, numéro ${index + 1}`), open_jeux: "all" });
  for (const jeu_id of jeux) await server.vote({ live_id, jeu_id, fun: 4, graph: 5, duree: 3 });
  for (const lang of ["fr", "en"]) {
    const bytes = await weigh("/leger", { locale: lang });
    const total = [...bytes.values()].reduce((sum, count) => sum + count, 0);
    console.log(`viewer page (${lang}): ${bytes.size} answers, ${total} bytes, of it the document ${bytes.get("/leger")}`);
    assert.ok(bytes.size > 20 && [...bytes.keys()].some((name) => name.endsWith("icon.svg")));
    assert.ok(total <= MOST_BYTES, `${total} bytes: ${JSON.stringify(Object.fromEntries(bytes), null, 1)}`);
  }
});

/** The tokens of a script, by a parser that is not ours. */
function tokensOf(text, name) {
  const tokens = [];
  const visit = (/** @type {ts.Node} */ node) => (node.getChildCount() === 0 ? tokens.push(node.getText()) : node.getChildren().filter(({ kind }) => kind < ts.SyntaxKind.FirstJSDocNode || kind > ts.SyntaxKind.LastJSDocNode).forEach(visit));
  const file = ts.createSourceFile(name, text, ts.ScriptTarget.ES2022, true, ts.ScriptKind.JS);
  assert.deepEqual(file.parseDiagnostics, [], name);
  visit(file);
  return tokens.filter((token) => token !== "");
}

test("scripts are sent without their comments, and nothing else of them is missing", { skip: Boolean(process.env.BAREME_ASSETS_DIR) && "the folder is served as it is" }, async () => {
  const { overlay } = await server.seed({ slug: "lettres" });
  const modules = new Set();
  for (const path of ["/lettres", overlay, "/admin"]) {
    const html = await (await fetch(server.origin + path)).text();
    for (const [, url] of html.matchAll(/(?:modulepreload" href|src)="([^"]+\.js)"/g)) if (!url.includes("/messages/")) modules.add(url);
  }
  assert.ok(modules.size > 30);
  for (const url of modules) {
    const sent = await (await fetch(server.origin + url)).text();
    const written = readFileSync(new URL(`../../${url.split("/").slice(3).join("/")}`, import.meta.url), "utf8");
    assert.deepEqual(tokensOf(sent, url), tokensOf(written, url), url);
    assert.doesNotMatch(sent, /^\s*(\/\*\*|\/\/)/m, url);
  }
});

test("the first paint is the server's: jeu, criteres with their ends, phase, averages and votes, without any script", async () => {
  const { live_id, jeux } = await server.seed({ slug: "nu", open_jeux: "all" });
  for (const fun of [3, 4, 5, 5]) await server.vote({ live_id, jeu_id: jeux[0], fun, graph: 2 });
  for (const [lang, parts] of [
    ["fr", ["Max joue", "Ultraroute 94", "Jeu 1 sur 3", "Votes ouverts", "Durée de vie", "inépuisable", "3,1", "/ 5 · 4 votes", "moyenne 4,3", "moyenne 2,0", "sans avis", "Les Brumes de Valmère", "Pour voter, autorisez JavaScript"]],
    ["en", ["Game 1 of 3", "Voting open", "Lasting appeal", "3.1", "/ 5 · 4 votes", "average 4.3", "no opinion"]],
  ]) {
    const page = await openPage(browser, `${server.origin}/nu?lang=${lang}`, { javaScriptEnabled: false });
    const text = await page.locator("body").innerText();
    for (const part of parts) assert.ok(text.includes(part), `${part} in ${text}`);
    await page.context().close();
  }
});

test("nothing moves when the script takes over from the server's page", async () => {
  const { live_id, jeux } = await server.seed({ slug: "stable", open_jeux: "all" });
  await server.vote({ live_id, jeu_id: jeux[0], fun: 4, graph: 2 });
  for (const viewport of [PHONE, { width: 1280, height: 800 }]) {
    const places = async (page) => {
      const boxes = {};
      for (const part of [".jeu-head__title", ".jeu-head__mean", ".critere__steps >> nth=0", ".critere__ends >> nth=2", ".strip__title", ".strip__row >> nth=2"]) {
        const { x, y, width, height } = await page.locator(part).boundingBox();
        boxes[part] = [x, y, width, height].map(Math.round);
      }
      return boxes;
    };
    const page = await openPage(browser, `${server.origin}/stable`, { viewport });
    await step(page, "fun", 1).waitFor({ state: "attached" });
    const context = await browser.newContext({ viewport, locale: "fr-FR" });
    // With scripts allowed, so that `<noscript>` stays hidden, but none that comes.
    await context.route("**/*.js", (route) => route.abort());
    const bare = await context.newPage();
    await bare.goto(`${server.origin}/stable`);
    assert.deepEqual(await places(page), await places(bare));
    await context.close();
    await page.context().close();
  }
});

test("blind or below the minimum, no average is in the server's page", async () => {
  for (const [slug, live] of [["voile", { blind: true }], ["seuil", { minimum_votes: 3 }]]) {
    const { live_id, jeux } = await server.seed({ slug, live });
    await server.vote({ live_id, jeu_id: jeux[0], fun: 5, graph: 4 });
    const html = await (await fetch(`${server.origin}/${slug}?lang=fr`)).text();
    for (const hidden of ["4,5", "5,0", "moyenne 4"]) assert.ok(!html.includes(hidden), `${hidden} in ${html}`);
    assert.ok(html.includes(slug === "voile" ? "Moyenne après votre vote" : "1 / 3 votes"));
  }
});

test("nothing a viewer gets holds a secret: no key, token, account or admin word", async () => {
  const { live_id, jeux, key } = await server.seed({ slug: "secrets" });
  const account = { name: "la-patronne", password: "une phrase assez longue", role: "admin" };
  server.streamer("add", account.name, { password: account.password });
  const page = await openPage(browser, `${server.origin}/secrets`);
  const texts = [];
  page.on("response", async (response) => texts.push([response.url(), await response.text().catch(() => "")]));
  page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => texts.push([socket.url(), String(payload)])));
  await page.reload();
  await step(page, "fun", 4).check();
  await page.locator('.note-bar[data-status="saved"]').waitFor();
  for (const path of ["/", "/secrets", "/nobody", "/api/channels/secrets/state", "/api/channels/secrets/live", `/api/lives/${live_id}/results`, "/api/lives"]) {
    texts.push([path, await (await fetch(server.origin + path)).text()]);
  }
  await server.vote({ live_id, jeu_id: jeux[0], fun: 1 });
  await until("a tally", () => texts.some(([, text]) => text.includes('"voters":2')));
  assert.ok(texts.length > 30, String(texts.length));
  const cookie = (await page.context().cookies()).find(({ name }) => name.endsWith("bareme_viewer"));
  const secrets = [server.token, key.key, key.key_id, account.name, account.password, cookie.value, server.dataDir];
  for (const [url, text] of texts) {
    for (const secret of secrets) assert.ok(!text.includes(secret), `${secret} in ${url}`);
    // The socket of the page is the same script that admins use.
    if (!url.includes("/assets/")) assert.doesNotMatch(text, /csrf|password|"admin|votes_per_s|overlay_key|bareme_session/i, url);
  }
  const stored = await page.evaluate(() => [JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie]);
  for (const text of stored) assert.ok(!text.includes(cookie.value));
  await page.context().close();
});

test("every page has a content policy without inline or eval, and does nothing that it forbids", async () => {
  const { overlay } = await server.seed({ slug: "regles", open_jeux: "all" });
  for (const path of ["/", "/regles", "/nobody", "/admin", overlay, "/a/b/c"]) {
    const { headers } = await fetch(server.origin + path);
    const policy = Object.fromEntries(headers.get("content-security-policy").split("; ").map((rule) => [rule.split(" ")[0], rule]));
    assert.equal(policy["default-src"], "default-src 'none'", path);
    assert.equal(policy["script-src"], "script-src 'self'", path);
    assert.doesNotMatch(policy["script-src"], /unsafe/, path);
    // OBS puts the streamer's own CSS into the overlay as a style element.
    if (path !== overlay) assert.doesNotMatch(headers.get("content-security-policy"), /unsafe|\*|https?:/, path);
    assert.equal(headers.get("x-content-type-options"), "nosniff");
    const context = await browser.newContext({ viewport: path === overlay ? OBS : PHONE, locale: "fr-FR" });
    await context.addInitScript(() => {
      window.violations = [];
      document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => window.violations.push(`${violatedDirective} ${blockedURI}`));
    });
    const page = await context.newPage();
    await page.goto(server.origin + path, { waitUntil: "networkidle" });
    if (path === "/regles") {
      await step(page, "fun", 4).check();
      await page.locator('.note-bar[data-status="saved"]').waitFor();
      await page.locator(".strip__row").nth(1).click();
      await page.locator(".banner__button").click();
    }
    assert.deepEqual(await page.evaluate(() => window.violations), [], path);
    await context.close();
  }
});

test("the front page shows the lives on air with the jeu one rates and its votes; the missing page shows them, too", async () => {
  const { live_id, jeux } = await server.seed({ slug: "vitrine", title: "La Vitrine", live: { title: "Soirée pixels" } });
  for (let vote = 0; vote < 3; vote += 1) await server.vote({ live_id, jeu_id: jeux[0], fun: 4 });
  const between = await server.seed({ slug: "entracte", title: "Entracte", open_jeux: "none" });
  for (const [path, lang] of [["/", "fr"], ["/", "en"], ["/nobody-here", "fr"], ["/a/b/c", "en"]]) {
    const page = await openPage(browser, `${server.origin}${path}?lang=${lang}`);
    const card = page.locator(".lives__row", { hasText: "La Vitrine" });
    assert.deepEqual((await card.innerText()).split("\n").filter(Boolean), ["La Vitrine", "Soirée pixels", "Ultraroute 94", "3 votes"], path);
    assert.equal(await page.locator(".lives__row", { hasText: "Entracte" }).locator(".lives__now").count(), 0);
    assert.equal(await page.locator("html").getAttribute("lang"), lang);
    await page.getByRole("link", { name: lang === "fr" ? "English" : "Français" }).click();
    await until("the other language", async () => (await page.locator("html").getAttribute("lang")) === (lang === "fr" ? "en" : "fr"));
    await page.locator(".lives__row", { hasText: "La Vitrine" }).click();
    await step(page, "fun", 4).waitFor({ state: "attached" });
    await page.context().close();
  }
  await server.api("POST", `admin/lives/${between.live_id}/close`, { delay_ms: 0 });
});

test("the head of a page says what links to it show, and names no other origin", async () => {
  await server.seed({ slug: "tete", title: "Max « joue » & <rit>" });
  for (const [path, title] of [["/?lang=fr", "Notez les jeux du live"], ["/tete?lang=fr", "Max « joue » & <rit>"]]) {
    const page = await openPage(browser, server.origin + path);
    const meta = (name) => page.locator(`meta[property="${name}"], meta[name="${name}"]`).first().getAttribute("content");
    assert.equal(await meta("og:title"), title);
    for (const name of ["description", "og:description", "theme-color"]) assert.ok((await meta(name)).length > 6, name);
    assert.equal(await page.locator('meta[property="og:image"]').count(), 0);
    const manifest = page.locator('link[rel="manifest"]');
    if (await manifest.count()) {
      const url = new URL(await manifest.getAttribute("href"), server.origin);
      const { name, start_url, icons } = await (await fetch(url)).json();
      assert.deepEqual([name, new URL(start_url, url).href], ["Barème", `${server.origin}/`]);
      assert.equal((await fetch(new URL(icons[0].src, url))).status, 200);
    }
    await page.context().close();
  }
});
