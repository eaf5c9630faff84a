import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { OBS, barSays, noteBar, openBrowser, openPage, overlayVotes, step } from "../support/browser.mjs";
import { Server, sleep, until } from "../support/server.mjs";
import { Wire } from "../support/wire.mjs";

let server;
let browser;
let seeded;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
  seeded = await server.seed();
});
after(async () => {
  await browser.close();
  await server.stop();
});

test("the overlay is right again within 2 s of each of five starts", async () => {
  const stage = await openPage(browser, server.origin + seeded.overlay, { viewport: OBS });
  await overlayVotes(stage).waitFor();
  const spent = [];
  for (let round = 1; round <= 5; round += 1) {
    await server.kill(round % 2 ? "SIGKILL" : "SIGTERM");
    if (round === 1) {
      await stage.locator(".is-stale").waitFor();
      assert.equal(await stage.locator(".card__phase").textContent(), "reconnexion…");
    } else {
      await sleep(round * 300);
    }
    await server.run();
    const readyAt = performance.now();
    await server.vote({ jeu_id: seeded.jeux[0], fun: (round % 5) + 1 });
    const wanted = round === 1 ? "1 vote" : `${round} votes`;
    await until(`${wanted}, not stale`, async () => (await overlayVotes(stage).textContent()) === wanted && (await stage.locator(".is-stale").count()) === 0, 10_000, 10);
    spent.push(performance.now() - readyAt);
  }
  console.log(`overlay right again after: ${spent.map((ms) => `${ms.toFixed(0)} ms`).join(", ")}`);
  assert.ok(Math.max(...spent) <= 2_000);
  await stage.context().close();
});

test("a note chosen offline is kept, and sent when the network is back", async (t) => {
  const wire = await Wire.to(server.port, t);
  const page = await openPage(browser, `${wire.origin}/max`);
  await step(page, "fun", 1).waitFor({ state: "attached" });
  await page.locator('.link-status[data-link="live"]').waitFor();
  for (const [round, score] of [2, 3, 4].entries()) {
    wire.cut();
    await page.locator('.link-status[data-link="lost"]').waitFor();
    await step(page, "fun", 1).check();
    await step(page, "fun", score).check();
    await barSays(page, "Hors ligne : envoi au retour");
    wire.mend();
    await page.evaluate(() => window.dispatchEvent(new Event("online")));
    await barSays(page, "Enregistré", 3_000);
    assert.ok(await step(page, "fun", score).isChecked());
  }
  await page.context().close();
});

test("a page that was hidden while its socket died is right again when it is seen", async (t) => {
  const wire = await Wire.to(server.port, t);
  const page = await openPage(browser, `${wire.origin}/max`);
  await page.locator('.link-status[data-link="live"]').waitFor();
  const devtools = await page.context().newCDPSession(page);
  for (let round = 0; round < 3; round += 1) {
    await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
    wire.cut();
    const { votes } = await voteAndCount();
    await sleep(300);
    wire.mend();
    await devtools.send("Page.setWebLifecycleState", { state: "active" });
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await until(`${votes} votes`, async () => (await page.locator(".jeu-head__votes").textContent()).includes(`${votes} vote`), 3_000);
  }
  await page.context().close();
});

async function voteAndCount() {
  await server.vote({ jeu_id: seeded.jeux[0], fun: 5 });
  const { jeux } = await server.api("GET", `lives/${seeded.live_id}/results`);
  return { votes: jeux[0].voters };
}

test("where WebSocket is blocked, the page polls and its vote counts", async (t) => {
  const wire = await Wire.to(server.port, t);
  wire.refusesUpgrades = true;
  const page = await openPage(browser, `${wire.origin}/max`);
  await page.locator('.link-status[data-link="polling"]').waitFor();
  await step(page, "fun", 5).check();
  await barSays(page, "Enregistré");
  const { votes } = await voteAndCount();
  await until("the other vote", async () => (await page.locator(".jeu-head__votes").textContent()).includes(`${votes} vote`));
  wire.refusesUpgrades = false;
  await page.evaluate(() => window.dispatchEvent(new Event("online")));
  await page.locator('.link-status[data-link="live"]').waitFor({ timeout: 15_000 });
  assert.equal(await noteBar(page).textContent(), "Enregistré");
  await page.context().close();
});

test("a wrong key says so, and a key revoked while it is used says so", async () => {
  const wrong = await openPage(browser, `${server.origin}/overlay/max?key=wrong&lang=fr`, { viewport: OBS });
  await wrong.getByText("Cette clé d’overlay n’est pas valable", { exact: false }).waitFor();
  const { key } = await server.seed({ slug: "other" });
  const stage = await openPage(browser, `${server.origin}/overlay/other?key=${key.key}&lang=en`, { viewport: OBS });
  await overlayVotes(stage).waitFor();
  await server.api("DELETE", `admin/channels/other/overlay-keys/${key.key_id}`);
  await stage.getByText("This overlay key is not valid", { exact: false }).waitFor();
  await stage.locator(".overlay__stage").waitFor({ state: "hidden" });
  await Promise.all([wrong.context().close(), stage.context().close()]);
});
