// Where WebSocket is blocked, and where the whole site lies below a path.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { barSays, DOCK, noteBar, OBS, openBrowser, openPage, overlayVotes, step } from "./support/browser.mjs";
import { PrefixProxy } from "./support/prefix.mjs";
import { Server, until } from "./support/server.mjs";
import { Wire } from "./support/wire.mjs";

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
});
after(async () => {
  await browser.close();
  await server.stop();
});

const mean = (page) => page.locator(".jeu-head__mean").textContent();

test("without WebSocket one votes, changes, withdraws, sees averages, a closing and the ranking; sockets are used again when they work", async (t) => {
  const { live_id, jeux } = await server.seed({ slug: "sans", live: { blind: true } });
  const wire = await Wire.to(server.port, t);
  wire.refusesUpgrades = true;
  const page = await openPage(browser, `${wire.origin}/sans`);
  await page.locator('.link-status[data-link="polling"]').waitFor();
  assert.equal(await page.locator(".link-status").textContent(), "En direct (toutes les 2 s)");
  await server.vote({ live_id, jeu_id: jeux[0], fun: 2 });
  await until("the other vote, masked", async () => (await page.locator(".jeu-head__votes").textContent()) === "1 vote");
  assert.equal(await mean(page), "Moyenne après votre vote");
  await step(page, "fun", 5).check();
  await barSays(page, "Enregistré");
  await until("the average, at once", async () => (await mean(page)) === "3,5", 1_500);
  await step(page, "fun", 4).check();
  await until("the change counts", async () => (await mean(page)) === "3,0");
  await page.getByRole("button", { name: "Retirer" }).click();
  await barSays(page, "Note retirée");
  const counted = async () => (await server.api("GET", `lives/${live_id}/results`)).jeux[0];
  assert.equal((await counted()).voters, 1);
  await step(page, "fun", 3).check();
  await barSays(page, "Enregistré");
  await page.reload();
  await page.locator('.link-status[data-link="polling"]').waitFor();
  await barSays(page, "Enregistré");
  assert.ok(await step(page, "fun", 3).isChecked());
  await server.api("POST", `admin/lives/${live_id}/jeux/${jeux[0]}/close`, { delay_ms: 6000 });
  await until("the countdown", async () => /^Fermeture dans \d s$/.test(await page.locator(".jeu-head__moment").textContent()));
  await until("the result", async () => (await page.locator(".jeu-head__moment").textContent()) === "Résultat final", 12_000);
  assert.ok(await step(page, "fun", 3).isDisabled());
  await server.api("POST", `admin/lives/${live_id}/next`);
  await until("the next jeu", async () => (await page.locator(".jeu-head__title").textContent()) === "Les Brumes de Valmère");
  wire.refusesUpgrades = false;
  await page.evaluate(() => window.dispatchEvent(new Event("online")));
  await page.locator('.link-status[data-link="live"]').waitFor({ timeout: 15_000 });
  const asked = page.requests.filter((url) => url.endsWith("/state")).length;
  await step(page, "fun", 5).check();
  await barSays(page, "Enregistré");
  await server.api("POST", `admin/lives/${live_id}/close`, { delay_ms: 0 });
  await page.getByRole("heading", { name: "Classement" }).waitFor();
  assert.equal(page.requests.filter((url) => url.endsWith("/state")).length, asked, "nothing is polled any more");
  await page.context().close();
});

test("without WebSocket a note chosen offline is sent when the network is back, and one that comes too late is refused", async (t) => {
  const { live_id, jeux } = await server.seed({ slug: "coupe" });
  const wire = await Wire.to(server.port, t);
  wire.refusesUpgrades = true;
  const page = await openPage(browser, `${wire.origin}/coupe`);
  await page.locator('.link-status[data-link="polling"]').waitFor();
  wire.cut();
  await page.locator('.link-status[data-link="lost"]').waitFor();
  await step(page, "fun", 4).check();
  await until("kept", async () => (await noteBar(page).textContent()).includes("envoi au retour"));
  wire.mend();
  await barSays(page, "Enregistré");
  wire.cut();
  await page.locator('.link-status[data-link="lost"]').waitFor();
  await step(page, "fun", 1).check();
  await server.api("POST", `admin/lives/${live_id}/jeux/${jeux[0]}/close`, { delay_ms: 0 });
  wire.mend();
  await until("refused", async () => (await noteBar(page).textContent()).startsWith("Trop tard"), 10_000);
  await until("what counts", () => step(page, "fun", 4).isChecked());
  await page.context().close();
});

test("without WebSocket a deleted channel says so", async (t) => {
  await server.api("POST", "admin/channels", { slug: "efface", title: "Max" });
  const wire = await Wire.to(server.port, t);
  wire.refusesUpgrades = true;
  const page = await openPage(browser, `${wire.origin}/efface`);
  await page.locator('.link-status[data-link="polling"]').waitFor();
  await server.api("DELETE", "admin/channels/efface?confirm=efface");
  await page.getByRole("heading", { name: "Cette chaîne n’existe plus" }).waitFor();
  await page.context().close();
});

test("below a path prefix everything works: pages, assets, sockets, polling, overlay, admin, links and QR code", async (t) => {
  const proxy = await PrefixProxy.listen("/notes");
  t.after(() => proxy.stop());
  const inside = await Server.start({ env: { BAREME_PUBLIC_URL: `${proxy.url}/`, BAREME_TRUSTED_PROXIES: "127.0.0.1" } });
  t.after(() => inside.stop());
  proxy.to = inside.port;
  const { overlay, live_id, jeux, slug } = await inside.seed({ slug: "max" });
  const password = "une phrase assez longue";
  inside.streamer("add", "max", { password });

  const home = await openPage(browser, `${proxy.url}/`);
  await home.locator(".lives__row").click();
  await home.locator('.link-status[data-link="live"]').waitFor();
  assert.equal(home.url(), `${proxy.url}/max`);
  await step(home, "fun", 4).check();
  await barSays(home, "Enregistré");
  await home.reload();
  await barSays(home, "Enregistré");

  proxy.blocksSockets = true;
  const polling = await openPage(browser, `${proxy.url}/max`);
  await polling.locator('.link-status[data-link="polling"]').waitFor();
  await step(polling, "fun", 2).check();
  await barSays(polling, "Enregistré");
  proxy.blocksSockets = false;

  const stage = await openPage(browser, `${proxy.url}${overlay}`, { viewport: OBS });
  await until("both votes on the overlay", async () => (await overlayVotes(stage).textContent())?.startsWith("2 votes"));

  const admin = await openPage(browser, `${proxy.url}/admin`, { viewport: DOCK });
  await admin.locator("admin-signin [name=name]").fill("max");
  await admin.locator("admin-signin [name=password]").fill(password);
  await admin.keyboard.press("Enter");
  await admin.getByText("Ultraroute 94").filter({ visible: true }).first().waitFor();

  const missing = await openPage(browser, `${proxy.url}/pas-la`);
  await missing.locator(".lives__row").click();
  await missing.locator('.link-status[data-link="live"]').waitFor();

  const qr = await fetch(`${proxy.url}/api/channels/${slug}/qr.svg`);
  assert.equal(qr.status, 200);
  const { live } = await (await fetch(`${proxy.url}/api/channels/${slug}/state`)).json().then(({ state }) => state);
  assert.deepEqual([live.live_id, live.current], [live_id, jeux[0]]);
  for (const page of [home, polling, stage, admin, missing]) {
    for (const url of page.requests) assert.ok(url.replace(/^ws/, "http").startsWith(`${proxy.url}/`), url);
    await page.context().close();
  }
  assert.deepEqual(proxy.strays.filter((path) => path !== "/favicon.ico"), []);
});
