// Takes a picture of every scene in every language and colour scheme: node browser/screenshots.mjs FOLDER [PART OF A NAME]
// A scene that fails is named, and the others are taken all the same; the exit code says whether any failed.
import { mkdirSync, rmSync } from "node:fs";
import path from "node:path";
import { openBrowser } from "./support/browser.mjs";
import { allScenes, LANGS, onStage, SCHEMES } from "./support/scenes.mjs";
import { Server } from "./support/server.mjs";

const [folder = "screenshots", part = ""] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const wanted = (await allScenes()).flatMap((scene) =>
  (scene.langs ?? LANGS).flatMap((lang) => (scene.schemes ?? SCHEMES).map((scheme) => ({ scene, lang, scheme, name: `${scene.name}-${lang}-${scheme}` }))),
).filter(({ name }) => name.includes(part));
if (wanted.length === 0) {
  console.error(`no scene is called like “${part}”`);
  process.exit(2);
}

// What a scene leaves undone, such as a wait for a page that went away with it, fails that scene and no other.
let astray = null;
process.on("uncaughtException", (error) => (astray ??= error));

let server = await Server.start();
let browser = await openBrowser();

/** A browser or a server that a scene took down with it is not the next scene's fault. */
async function standAgain() {
  if (!browser.isConnected()) browser = await openBrowser();
  if (server.child.exitCode === null && server.child.signalCode === null) return;
  await server.stop();
  server = await Server.start();
}

/** A window as tall as its page, so that what sticks to an edge covers nothing. @param {import("playwright-core").Page} page */
async function unroll(page) {
  const { width, height } = page.viewportSize();
  const full = await page.evaluate(() => document.documentElement.scrollHeight);
  if (full > height) await page.setViewportSize({ width, height: full });
}

/** @param {(typeof wanted)[number]} picture */
async function take({ scene, lang, scheme, name }) {
  const file = path.join(folder, `${name}.png`);
  // An old picture would pass for a new one.
  rmSync(file, { force: true });
  astray = null;
  await standAgain();
  await onStage({ server, browser, scene, lang, scheme }, async (page) => {
    if (!scene.name.startsWith("overlay")) await unroll(page);
    await page.screenshot({ path: file });
  });
  if (astray) throw astray;
}

const failed = [];
for (const picture of wanted) {
  try {
    await take(picture);
    console.log(picture.name);
  } catch (error) {
    failed.push(picture.name);
    console.error(`${picture.name} FAILED: ${error instanceof Error ? error.message : error}`);
  }
}
await browser.close().catch(() => {});
await server.stop();
console.log(`${wanted.length - failed.length} of ${wanted.length} pictures in ${path.resolve(folder)}`);
if (failed.length > 0) {
  console.error(`failed:\n  ${failed.join("\n  ")}`);
  process.exitCode = 1;
}
