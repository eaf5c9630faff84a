// What tests of the admin page share: people who sign in, and what they look at.
import { DOCK, openPage } from "./browser.mjs";

export const PASSWORD = "une phrase assez longue";

/** Buttons by what they stand for, whatever language they speak. */
export const button = (page, focus) => page.locator(`[data-focus="${focus}"]:visible`);
export const tab = (page, name) => page.locator(`[data-tab="${name}"]`);
export const title = (page) => page.locator(".jeu-card.is-large .jeu-card__title");
export const card = (page, jeu) => page.locator(`.jeu-card[data-jeu="${jeu}"]`);
export const row = (page, jeu) => page.locator(`.programme__row[data-id="${jeu}"]`);
export const head = (page, jeu) => row(page, jeu).locator(".programme__head");

/** Titles of the programme from top to bottom. */
export const order = (page) => page.locator(".programme__name").allTextContents();

/** The console of a channel, signed in as somebody of that role. `prepare` gets the browser's context first; without `isWaited` the page may not show yet. */
export async function openConsole(server, browser, slug, { role = "admin", origin = server.origin, viewport = DOCK, locale = "fr-FR", prepare = async () => {}, isWaited = true, ...more } = {}) {
  server.people ??= new Map();
  const name = `test-${role}`;
  if (!server.people.has(role)) server.people.set(role, server.streamer("add", name, "--role", role, { password: PASSWORD }));
  const context = await browser.newContext({ viewport, locale, ...more });
  // As a browser that has signed in before: others share a small bucket of tries.
  server.devices ??= new Map();
  if (server.devices.has(role)) await context.addCookies([server.devices.get(role)]);
  const answer = await context.request.post(`${origin}/api/admin/login`, { data: { name, password: PASSWORD } });
  if (!answer.ok()) throw new Error(`sign-in: ${answer.status()} ${await answer.text()}`);
  const device = (await context.cookies()).find(({ name }) => name === "bareme_device");
  if (device) server.devices.set(role, device);
  await context.addInitScript((chosen) => localStorage.setItem("bareme.admin.channel", chosen), slug);
  await prepare(context);
  const page = await openPage(browser, `${origin}/admin`, { context });
  if (isWaited) await page.locator(".tabs").waitFor();
  return page;
}
