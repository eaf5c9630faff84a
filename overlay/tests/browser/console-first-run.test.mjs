import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DOCK, OBS, openBrowser, openPage, overlayVotes, PHONE, step } from "./support/browser.mjs";
import { PASSWORD, tab, title } from "./support/console.mjs";
import { Server, until } from "./support/server.mjs";

let browser;
before(async () => {
  browser = await openBrowser();
});
after(() => browser.close());

async function firstRun(t, options) {
  const server = await Server.start({ withToken: false });
  t.after(() => server.stop());
  const link = await server.setupLink();
  const page = await openPage(browser, link, { viewport: DOCK, ...options });
  t.after(() => page.context().close());
  return { server, page, origin: new URL(link).origin };
}

async function fill(page, { name = "max", channel = "Max joue", jeux = "Ultraroute 94\nLes Brumes de Valmère\nPetite Forge" } = {}) {
  await page.locator("admin-start [name=name]").fill(name);
  await page.locator("admin-start [name=password]").fill(PASSWORD);
  await page.locator("admin-start [name=channel]").fill(channel);
  await page.locator("admin-start [name=jeux]").fill(jeux);
}

test("from a fresh data directory to a vote on the overlay: within 60 s, and 3 actions beyond typing", async (t) => {
  const startedAt = performance.now();
  const { server, page, origin } = await firstRun(t, { permissions: ["clipboard-read", "clipboard-write"] });
  let actions = 0;
  const act = async (doing) => {
    actions += 1;
    await doing;
  };
  await page.getByRole("heading", { name: "Premier démarrage" }).waitFor();
  assert.equal(await page.evaluate(() => location.pathname + location.hash), "/admin", "the token left the address bar");
  await fill(page);
  await act(page.getByRole("button", { name: "Ouvrir le live" }).click());
  await title(page).filter({ hasText: "Ultraroute 94" }).waitFor();
  const links = page.locator("admin-quick");
  await links.getByText(`${origin}/max-joue`, { exact: false }).waitFor();
  const copies = links.getByRole("button", { name: /^Copier/ });
  await copies.nth(1).waitFor();
  // Both are on the page at once; the streamer copies the overlay's, which is masked.
  const overlayLine = links.locator(".copy", { has: page.locator(".copy__text", { hasText: "•" }) });
  await act(overlayLine.getByRole("button", { name: /^Copier/ }).click());
  const overlay = await until("the address in the clipboard", async () => {
    const text = await page.evaluate(() => navigator.clipboard.readText());
    return text.includes("/overlay/") && text;
  });
  const stage = await openPage(browser, overlay, { viewport: OBS });
  const viewer = await openPage(browser, `${origin}/max-joue`, { viewport: PHONE });
  await act(step(viewer, "fun", 5).check());
  await until("the vote on the overlay", async () => (await overlayVotes(stage).textContent()) === "1 vote");
  const spentS = (performance.now() - startedAt) / 1000;
  console.log(`first run to a vote on the overlay: ${spentS.toFixed(1)} s, ${actions} actions`);
  assert.ok(actions <= 3 && spentS <= 60);
  for (const opened of [page, viewer, stage]) assert.deepEqual(opened.problems.filter((text) => !text.includes("401")), []);
  await Promise.all([viewer.context().close(), stage.context().close()]);
  assert.doesNotMatch(server.output, new RegExp(PASSWORD));
});

test("a refusal of a later part loses nothing of the earlier ones, and says which field", async (t) => {
  const { page } = await firstRun(t);
  await fill(page, { channel: "管理" });
  await page.getByRole("button", { name: "Ouvrir le live" }).click();
  const slug = page.locator("admin-start [name=slug]");
  await page.locator('admin-start [name=slug][aria-invalid="true"]').waitFor();
  assert.ok(await slug.evaluate((input) => input === document.activeElement), "the wrong field has the focus");
  assert.ok(await page.locator("admin-start [name=name]").isHidden(), "the account is made and folded away");
  await slug.fill("max");
  await page.getByRole("button", { name: "Ouvrir le live" }).click();
  await title(page).filter({ hasText: "Ultraroute 94" }).waitFor();
});

test("account and channel can be made without a live, and the page then offers to prepare one", async (t) => {
  const { page } = await firstRun(t, { locale: "en-GB" });
  await page.getByRole("button", { name: "No live for now" }).click();
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("name")), "name", "what is missing is pointed at");
  await fill(page, { jeux: "" });
  await page.getByRole("button", { name: "No live for now" }).click();
  await page.getByRole("heading", { name: "Nothing on air" }).waitFor();
  await page.getByRole("button", { name: "Prepare a live" }).click();
  assert.equal(await tab(page, "prepare").getAttribute("aria-selected"), "true");
});

test("without the set-up link the page says where it is", async (t) => {
  const { server } = await firstRun(t);
  const page = await openPage(browser, `${server.origin}/admin`, { viewport: DOCK });
  t.after(() => page.context().close());
  await page.getByText("Ouvrez le lien que le serveur a affiché", { exact: false }).waitFor();
});
