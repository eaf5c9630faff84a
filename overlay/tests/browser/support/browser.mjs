// Debian's Chromium, with a page for each person: its shell without a window, which opens a page for half of the work.
import { chromium } from "playwright-core";
import { until } from "./server.mjs";

/** @param {{withIcons?: boolean}} [options] the shell fetches no icons; all of Chromium does */
export async function openBrowser({ withIcons = false } = {}) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? `/usr/bin/chromium${withIcons ? "" : "-headless-shell"}`,
    args: ["--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update"],
  });
}

export const PHONE = { width: 390, height: 844 };
export const OBS = { width: 800, height: 600 };
export const DOCK = { width: 400, height: 800 };

/**
 * A page in a context of its own, that keeps what went wrong in it and every address it asked for.
 *
 * @param {import("playwright-core").Browser} browser
 * @param {string} url
 * @param {import("playwright-core").BrowserContextOptions & {context?: import("playwright-core").BrowserContext}} [options]
 *   `context`: a context to share instead, such as one that is signed in
 */
export async function openPage(browser, url, { viewport = PHONE, locale = "fr-FR", context: given, ...more } = {}) {
  const context = given ?? (await browser.newContext({ viewport, locale, ...more }));
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  const problems = [];
  const requests = [];
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("request", (request) => requests.push(request.url()));
  page.on("websocket", (socket) => requests.push(socket.url()));
  page.on("dialog", (dialog) => {
    problems.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  await page.goto(url);
  return Object.assign(page, { problems, requests });
}

/** A radio button of a critere on the viewer page. */
export const step = (page, critere, score) => page.locator(`critere-field[data-critere="${critere}"] input[value="${score}"]`);
export const noteBar = (page) => page.locator(".note-bar__words");
/** French sets narrow no-break spaces; tests are written with plain ones. @param {string} text */
export const plain = (text) => text.replaceAll("\u202f", " ");
/** What became of the note, where one sees it; the live region says the same words to those who listen. */
export const barSays = (page, words, withinMs) => until(`“${words}” in the bar`, async () => (await noteBar(page).count()) > 0 && plain(await noteBar(page).textContent()) === words, withinMs);
export const overlayVotes = (page) => page.locator(".card__votes");
