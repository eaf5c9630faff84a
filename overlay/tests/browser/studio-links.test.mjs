import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { openBrowser } from "./support/browser.mjs";
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

const DOTS = /^•+$/;
const links = (t, slug, more = {}) => onTab(t, { server, browser, slug, tab: "links", ...more });
const secret = (page) => page.locator(".key .copy__text").first();
const reveal = (page) => page.locator(".key").first().getByRole("button", { name: /^Montrer/ });

test("the viewers' address is copied, and its line for the chat in both languages, as one wrote it", async (t) => {
  const { slug } = await server.seed({ slug: "copy" });
  const page = await links(t, slug);
  await page.getByRole("button", { name: "Copier Adresse à donner" }).click();
  await page.getByText("Copié").waitFor();
  assert.equal(await clipboard(page), `${server.origin}/${slug}`);
  const spoken = `127.0.0.1:${server.port}/${slug}`;
  const [french, english] = ["français", "anglais"].map((lang) => page.getByRole("textbox", { name: `Ligne pour le chat, en ${lang}` }));
  assert.equal(await french.inputValue(), `Notez le jeu en direct\u202f: ${spoken}`);
  assert.equal(await english.inputValue(), `Rate the game live: ${spoken}`);
  await french.fill("À vos notes ! max");
  await page.getByRole("button", { name: "Copier Ligne pour le chat, en français" }).click();
  await until("the chat's line", async () => (await clipboard(page)) === "À vos notes ! max");
  await page.reload();
  await openTab(page, "links");
  assert.equal(await french.inputValue(), "À vos notes ! max", "the browser keeps it");
  await page.getByRole("button", { name: "Rétablir" }).click();
  assert.equal(await french.inputValue(), `Notez le jeu en direct\u202f: ${spoken}`);
  assert.deepEqual(page.problems, []);
});

test("a line for the chat belongs to its channel", async (t) => {
  await server.seed({ slug: "first" });
  await server.api("POST", "admin/channels", { slug: "second", title: "Deux" });
  const page = await links(t, "first");
  await page.locator("#chat-fr").fill("la première");
  await page.locator("admin-channels select, admin-bar select").first().selectOption("second");
  await until("the other channel's line", async () => /second$/.test(await page.locator("#chat-fr").inputValue().catch(() => "")));
});

test("the QR code is shown small and large, and saved as the SVG of the API", async (t) => {
  const { slug } = await server.seed({ slug: "qr" });
  const page = await links(t, slug);
  const drawn = () => page.locator(".qr > .qr__image").evaluate((image) => image.complete && image.naturalWidth > 0);
  await until("the QR code", drawn);
  await page.getByRole("button", { name: "En grand" }).click();
  const large = page.getByRole("dialog", { name: "QR code de Max joue" });
  await large.getByText(`127.0.0.1:${server.port}/${slug}`).waitFor();
  assert.ok((await large.locator("img").boundingBox()).width > 300, "large on a dock");
  await page.keyboard.press("Escape");
  await large.waitFor({ state: "hidden" });
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "En grand", "focus is where it was");
  const [saved] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Télécharger (SVG)" }).click()]);
  assert.equal(saved.suggestedFilename(), `${slug}-qr.svg`);
  const served = await fetch(`${server.origin}/api/channels/${slug}/qr.svg`);
  assert.equal(await readFile(await saved.path(), "utf8"), await served.text());
});

test("an overlay's address is masked, copied without being shown, and hides again by itself", async (t) => {
  const { slug, key } = await server.seed({ slug: "mask" });
  const page = await links(t, slug);
  const shows = () => page.locator("body").innerText().then((text) => text.includes(key.key));
  assert.match(await secret(page).textContent(), DOTS);
  assert.equal(await page.content().then((html) => html.includes(key.key)), false, "not in the document either");
  await page.locator(".key").first().getByRole("button", { name: /^Copier/ }).click();
  await until("the address in the clipboard", async () => (await clipboard(page)) === `${server.origin}/overlay/${slug}?key=${key.key}`);
  assert.equal(await shows(), false, "copying shows nothing");
  await reveal(page).click();
  assert.equal(await secret(page).textContent(), `${server.origin}/overlay/${slug}?key=${key.key}`);
  assert.equal(await reveal(page).getAttribute("aria-pressed"), "true");
  const shownAt = performance.now();
  await until("dots again", async () => DOTS.test(await secret(page).textContent()), 12_000, 50);
  const shownS = (performance.now() - shownAt) / 1000;
  assert.ok(shownS > 5 && shownS < 11, `${shownS} s`);
  assert.equal(await reveal(page).getAttribute("aria-pressed"), "false");
});

test("a secret hides when its tab is left, here or in the browser, and when one asks for it", async (t) => {
  const { slug } = await server.seed({ slug: "leave" });
  const page = await links(t, slug);
  const isMasked = () => secret(page).textContent().then((text) => DOTS.test(text));
  await reveal(page).click();
  assert.equal(await isMasked(), false);
  await page.locator('[data-tab="results"]').click();
  await until("masked behind another tab", isMasked);
  await page.locator('[data-tab="links"]').click();
  await reveal(page).click();
  assert.equal(await isMasked(), false);
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  assert.equal(await isMasked(), true, "the browser's tab was left");
  await reveal(page).click();
  await reveal(page).click();
  assert.equal(await isMasked(), true, "pressed again");
});

test("a key is made and revoked, and says that its overlays are cut off", async (t) => {
  const { slug } = await server.seed({ slug: "keys" });
  const page = await links(t, slug);
  await page.getByLabel("Nom de la clé").fill("PC du salon");
  await page.getByRole("button", { name: "Créer une adresse" }).click();
  await page.getByText(/Adresse «.PC du salon.» créée/).waitFor();
  const row = page.locator(".key", { hasText: "PC du salon" });
  const [made] = (await server.api("GET", `admin/channels/${slug}/overlay-keys`)).filter(({ name }) => name === "PC du salon");
  assert.equal((await fetch(made.url)).status, 200);
  await row.getByRole("button", { name: "Révoquer" }).click();
  await row.getByRole("button", { name: /Touchez encore/ }).click();
  await page.getByText(/«.PC du salon.» est révoquée/).waitFor();
  await row.waitFor({ state: "detached" });
  assert.equal((await fetch(made.url)).status, 403);
});

test("a moderator sees that there are keys, and neither reads nor makes them", async (t) => {
  const { slug, key } = await server.seed({ slug: "modo" });
  const page = await links(t, slug, { role: "moderator" });
  await page.locator(".key", { hasText: "OBS" }).waitFor();
  await page.getByText("seul un admin peut les lire", { exact: false }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Créer une adresse" }).isVisible(), false);
  assert.equal(await page.getByRole("button", { name: "Révoquer" }).count(), 0);
  assert.equal(await page.locator(".is-secret").count(), 0);
  assert.equal(await page.content().then((html) => html.includes(key.key)), false);
  await page.getByText("demandez-la à un admin", { exact: false }).waitFor();
  assert.deepEqual(page.problems.filter((text) => !text.includes("403")), []);
});
