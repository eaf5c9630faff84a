import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DOCK, openBrowser, openPage } from "./support/browser.mjs";
import { openConsole, order, PASSWORD, row, title } from "./support/console.mjs";
import { Server, until } from "./support/server.mjs";

let browser;
before(async () => {
  browser = await openBrowser();
});
after(() => browser.close());

const phase = (page, jeu) => row(page, jeu).getAttribute("data-moment");

async function onAir(t, { delay_ms = 20_000, jeux = ["Un", "Deux", "Trois"] } = {}) {
  const server = await Server.start();
  t.after(() => server.stop());
  const seeded = await server.seed({ jeux });
  await server.api("PATCH", "admin/channels/max", { close_delay_ms: delay_ms });
  const page = await openConsole(server, browser, "max");
  t.after(() => page.context().close());
  await title(page).filter({ hasText: "Un" }).waitFor();
  return { ...seeded, server, page };
}

test("N goes on, F closes, U takes it back, a digit puts on screen; the keys are on the buttons and behind ?", async (t) => {
  const { page, jeux } = await onAir(t);
  assert.equal(await page.locator('[data-focus="next"] .cap').textContent(), "N");
  await page.keyboard.press("f");
  await until("closing", async () => (await phase(page, jeux[0])) === "closing");
  await page.keyboard.press("u");
  await until("open again", async () => (await phase(page, jeux[0])) === "open");
  await page.keyboard.press("n");
  await title(page).filter({ hasText: "Deux" }).waitFor();
  await until("the one left closes", async () => (await phase(page, jeux[0])) === "closing");
  await page.keyboard.press("u");
  await until("U means that one", async () => (await phase(page, jeux[0])) === "open");
  await page.keyboard.press("3");
  await title(page).filter({ hasText: "Trois" }).waitFor();
  await page.keyboard.press("?");
  const help = page.getByRole("dialog", { name: "Raccourcis clavier" });
  await help.waitFor();
  await page.keyboard.press("1");
  await page.keyboard.press("Escape");
  await help.waitFor({ state: "hidden" });
  assert.equal(await title(page).textContent(), "Trois", "no key drives anything under the help");
});

test("keys do nothing while one types, with modifiers, or held down", async (t) => {
  const { page } = await onAir(t);
  await page.getByLabel("Ajouter au programme").focus();
  await page.keyboard.type("fn2");
  await page.evaluate(() => document.activeElement.blur());
  for (const chord of ["Control+f", "Alt+n", "Meta+n", "Shift+n"]) await page.keyboard.press(chord);
  await page.evaluate(() => document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "n", code: "KeyN", repeat: true, bubbles: true })));
  const requests = page.requests.filter((url) => /\/api\/admin\/lives\//.test(url));
  assert.deepEqual(requests, []);
  assert.equal(await title(page).textContent(), "Un");
});

test("digits work on an AZERTY keyboard, where they are not what the keys say", async (t) => {
  const { page } = await onAir(t);
  // The key "2" of a French keyboard, without Shift.
  await page.evaluate(() => document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "é", code: "Digit2", bubbles: true, cancelable: true })));
  await title(page).filter({ hasText: "Deux" }).waitFor();
});

test("what asks on its button asks on its key: the end of a live needs two presses", async (t) => {
  const { page, server, live_id } = await onAir(t, { delay_ms: 0 });
  const status = async () => (await server.api("GET", `admin/lives/${live_id}`)).status;
  await page.keyboard.press("e");
  await page.locator('[data-focus="close-live"].is-asking').waitFor();
  assert.equal(await status(), "open");
  await page.keyboard.press("e");
  await page.getByText("Live terminé", { exact: false }).waitFor();
  await page.keyboard.press("u");
  await title(page).filter({ hasText: "Un" }).waitFor();
  assert.equal(await status(), "open");
});

test("a whole live by keyboard alone: from the set-up link to the final ranking", async (t) => {
  const server = await Server.start({ withToken: false });
  t.after(() => server.stop());
  const link = await server.setupLink();
  const page = await openPage(browser, link, { viewport: DOCK });
  t.after(() => page.context().close());
  const keys = page.keyboard;
  await page.getByRole("heading", { name: "Premier démarrage" }).waitFor();
  /** Tab until the element with the focus answers to `selector`. */
  const tabTo = async (selector) => {
    for (let presses = 0; presses < 60; presses += 1) {
      if (await page.evaluate((wanted) => document.activeElement?.matches(wanted) ?? false, selector)) return;
      await keys.press("Tab");
    }
    assert.fail(`Tab never came to ${selector}`);
  };
  await tabTo("[name=name]");
  await keys.type("max");
  await keys.press("Tab");
  await keys.type(PASSWORD);
  await tabTo("[name=channel]");
  await keys.type("Max joue");
  await tabTo("[name=jeux]");
  await keys.type("Un");
  await keys.press("Enter");
  await keys.type("Deux");
  await tabTo("admin-start button[type=submit]");
  await keys.press("Enter");
  await title(page).filter({ hasText: "Un" }).waitFor();
  // Another jeu, moved in front of the other.
  await tabTo("admin-programme textarea");
  await keys.type("Trois");
  await keys.press("Tab");
  await keys.press("Enter");
  await until("added", async () => (await order(page)).join() === "Un,Deux,Trois");
  await tabTo("body");
  await tabTo('[data-id="3"] .programme__head');
  await keys.press("Alt+ArrowUp");
  await until("moved", async () => (await order(page)).join() === "Un,Trois,Deux");
  const channel = `${new URL(link).origin}/api/note`;
  const vote = async (jeu_id, fun) => assert.equal((await fetch(channel, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ jeu_id, fun }) })).status, 200);
  await vote(1, 3);
  await keys.press("n");
  await title(page).filter({ hasText: "Trois" }).waitFor();
  await vote(3, 5);
  await keys.press("n");
  await title(page).filter({ hasText: "Deux" }).waitFor();
  await vote(2, 4);
  await keys.press("f");
  await until("closing", async () => (await phase(page, 2)) === "closing");
  await keys.press("f");
  await page.locator('[data-focus="close-now"].is-asking').waitFor();
  await keys.press("f");
  await until("final", async () => (await phase(page, 2)) === "final");
  await keys.press("e");
  await keys.press("e");
  const ranking = page.locator(".idle__row .idle__name");
  await ranking.first().waitFor({ timeout: 20_000 });
  await until("the final ranking", async () => (await ranking.allTextContents()).join() === "Trois,Deux,Un");
});
