import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openBrowser, openPage } from "./support/browser.mjs";
import { Server, until } from "./support/server.mjs";
import { clipboard, onTab, openTab } from "./support/studio.mjs";

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
});
after(async () => {
  await browser.close();
  await server.stop();
});

const builder = (t, slug, more = {}) => onTab(t, { server, browser, slug, tab: "links", ...more });
/** The page in the preview's frame. */
const framed = (page) => page.frames().find((frame) => frame.url().includes("/overlay/"));
const query = (page) => Object.fromEntries(new URL(framed(page)?.url() ?? "about:blank").searchParams);
const awaitQuery = (page, expected) => until(`the preview with ${JSON.stringify(expected)}, has ${JSON.stringify(query(page))}`, () => Object.entries(expected).every(([name, value]) => query(page)[name] === value));
/** Radio buttons lie under their pictures. */
const choose = (page, group, option) => page.getByRole("group", { name: group, exact: true }).getByRole("radio", { name: option, exact: true }).check({ force: true });
const copyAddress = async (page) => {
  await page.locator("admin-builder").getByRole("button", { name: "Copier l’adresse" }).click();
  return until("an address in the clipboard", async () => (await clipboard(page).catch(() => "")).includes("/overlay/") && clipboard(page));
};

test("the preview is the overlay's own page, without a key, and shows every setting as it is chosen", async (t) => {
  const { slug, key } = await server.seed({ slug: "preview" });
  const page = await builder(t, slug);
  await awaitQuery(page, { demo: "open" });
  await choose(page, "Forme", "Bandeau");
  await awaitQuery(page, { theme: "band" });
  await framed(page).locator(".band").first().waitFor();
  await choose(page, "Forme", "Pastille");
  await framed(page).locator(".pill").first().waitFor();
  await choose(page, "Place", "En haut à droite");
  await awaitQuery(page, { theme: "pill", pos: "tr" });
  await choose(page, "Langue", "Anglais");
  await until("English in the frame", () => framed(page).evaluate(() => document.documentElement.lang === "en").catch(() => false));
  await choose(page, "Mouvement", "Non");
  await choose(page, "QR code à l’écran", "Toujours");
  await choose(page, "Classement", "À la fin du live");
  await page.getByRole("slider", { name: "Taille", exact: true }).fill("1.3");
  await page.getByRole("checkbox", { name: "Graphismes" }).uncheck();
  await awaitQuery(page, { motion: "off", qr: "on", ranking: "end", scale: "1.3", criteres: "fun,duree,son,scenario" });
  await page.getByLabel("Couleur d’accent", { exact: true }).fill("#2b59ff");
  await awaitQuery(page, { accent: "2b59ff" });
  const accent = () => framed(page).evaluate(() => getComputedStyle(document.documentElement).getPropertyValue("--accent").trim()).catch(() => "");
  await until("the accent in the frame", async () => (await accent()) === "#2b59ff");
  for (const [words, demo] of [["Fermeture", "closing"], ["Résultat", "final"], ["Classement", "ranking"], ["Trop peu de votes", "minimum"], ["Coupure", "stale"], ["Entre deux jeux", "pending"], ["Tout, à la suite", "on"]]) {
    await choose(page, "Moment", words);
    await awaitQuery(page, { demo });
  }
  assert.equal(query(page).key, undefined);
  assert.equal(page.requests.some((url) => url.includes(key.key)), false, "no request of this page has the key");
  assert.deepEqual(page.problems, []);
});

test("the preview has the size of a source in OBS, shrunk to the dock, over a background of one's choice", async (t) => {
  const { slug } = await server.seed({ slug: "sizes" });
  const page = await builder(t, slug);
  await until("the frame", () => framed(page));
  for (const [words, width, height] of [["1920 × 1080", 1920, 1080], ["800 × 600", 800, 600], ["400 × 300", 400, 300]]) {
    await choose(page, "Taille de la source", words);
    await until(words, async () => {
      const size = await framed(page).evaluate(() => [innerWidth, innerHeight]);
      return size[0] === width && size[1] === height;
    });
    const [stage, source] = await Promise.all([page.locator(".preview").boundingBox(), page.locator(".preview__source").boundingBox()]);
    assert.ok(source.width <= stage.width + 1 && source.height <= stage.height + 1, "it stays inside");
    assert.ok(Math.abs(source.width / source.height - width / height) < 0.02, "and keeps its form");
    assert.ok(Math.abs(stage.width / stage.height - 16 / 9) < 0.02);
  }
  for (const [words, ground] of [["Image claire", "bright"], ["Transparence", "checker"], ["Image sombre", "dark"]]) {
    await choose(page, "Fond", words);
    assert.equal(await page.locator(".preview").getAttribute("data-ground"), ground);
  }
  // Behind the overlay's page lies the sample picture, not a sheet of white.
  const frame = await page.locator(".preview__frame").evaluate((element) => getComputedStyle(element).backgroundColor);
  assert.equal(frame, "rgba(0, 0, 0, 0)");
});

test("the accent says the contrast of the text on it, and a wrong colour says how to write one and changes nothing", async (t) => {
  const { slug } = await server.seed({ slug: "accent" });
  const page = await builder(t, slug);
  const input = page.getByLabel("Couleur d’accent", { exact: true });
  await input.fill("#ffe14d");
  await page.getByText(/contraste du texte 1\d,\d/).waitFor();
  await awaitQuery(page, { accent: "ffe14d" });
  await input.fill("rouge");
  await page.getByText("Écrivez la couleur comme #ff5b35.").waitFor();
  assert.equal(await input.getAttribute("aria-invalid"), "true");
  assert.equal(query(page).accent, "ffe14d");
  await input.fill("");
  await until("the look's own accent", () => query(page).accent === undefined);
});

test("an overlay shows one critere at least", async (t) => {
  const { slug } = await server.seed({ slug: "criteres" });
  const page = await builder(t, slug);
  const boxes = page.getByRole("group", { name: "Critères montrés" }).getByRole("checkbox");
  // `all` does not wait: before the live is read there are none.
  await boxes.first().waitFor();
  for (const box of await boxes.all()) await box.click();
  await page.getByText("Il en faut au moins un.").waitFor();
  assert.equal((await Promise.all((await boxes.all()).map((box) => box.isChecked()))).filter(Boolean).length, 1);
});

test("from the builder to OBS: the copied address shows that theme, there, with the numbers of the live", async (t) => {
  const { slug, live_id, jeux } = await server.seed({ slug: "trip" });
  for (const fun of [5, 4, 4]) await server.vote({ live_id, jeu_id: jeux[0], fun, graph: 3, duree: 4 });
  const page = await builder(t, slug);
  await choose(page, "Forme", "Bandeau");
  await choose(page, "Place", "En haut");
  await choose(page, "Langue", "Anglais");
  await page.getByRole("checkbox", { name: "Graphismes" }).uncheck();
  const address = await copyAddress(page);
  const stage = await openPage(browser, address, { viewport: { width: 1920, height: 1080 } });
  t.after(() => stage.context().close());
  await stage.locator(".band").first().waitFor();
  await stage.getByText("Ultraroute 94").first().waitFor();
  await stage.getByText("3 votes").first().waitFor();
  assert.equal(await stage.getByText("Graphics").count(), 0, "a critere that is not shown");
  assert.ok((await stage.locator(".band").first().boundingBox()).y < 540, "at the top");
  await page.reload();
  await openTab(page, "links");
  await awaitQuery(page, { theme: "band", pos: "t", lang: "en", criteres: "fun,duree,son,scenario" });
  assert.equal(await copyAddress(page), address, "the browser keeps the choice");
});

test("without a key the same button makes one, and what is copied works", async (t) => {
  const { slug, key } = await server.seed({ slug: "fresh" });
  await server.api("DELETE", `admin/channels/${slug}/overlay-keys/${key.key_id}`);
  const page = await builder(t, slug);
  await page.getByRole("button", { name: "Créer une clé et copier l’adresse" }).click();
  const address = await until("an address", async () => (await clipboard(page).catch(() => "")).includes("key=") && clipboard(page));
  assert.equal((await fetch(address)).status, 200);
  assert.equal((await server.api("GET", `admin/channels/${slug}/overlay-keys`)).length, 1);
  await page.locator("admin-builder").getByRole("button", { name: "Copier l’adresse" }).waitFor();
});

test("what is dragged into OBS is the address with the layer's name and size, and is nowhere on the page", async (t) => {
  const { slug, key } = await server.seed({ slug: "drag", title: "Max & moi" });
  const page = await builder(t, slug);
  await choose(page, "Taille de la source", "800 × 600");
  const dragged = await page.getByText("Glisser dans OBS").evaluate((handle) => {
    const dataTransfer = new DataTransfer();
    handle.dispatchEvent(new DragEvent("dragstart", { dataTransfer, bubbles: true }));
    return dataTransfer.getData("text/uri-list");
  });
  const url = new URL(dragged);
  assert.equal(url.searchParams.get("key"), key.key);
  assert.deepEqual(["layer-name", "layer-width", "layer-height"].map((name) => url.searchParams.get(name)), ["Barème Max & moi", "800", "600"]);
  assert.equal(await page.content().then((html) => html.includes(key.key)), false);
});

test("nobody looks: behind another tab no preview runs", async (t) => {
  const { slug } = await server.seed({ slug: "rest" });
  const page = await builder(t, slug);
  await until("the frame", () => framed(page));
  await page.locator('[data-tab="access"]').click();
  await until("no frame", () => !framed(page));
  await page.locator('[data-tab="links"]').click();
  await until("the frame again", () => framed(page));
});
