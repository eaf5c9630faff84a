// An hour of a live in less than a minute: 36,000 snapshots through the page as it is. A server of this test's own
// stands between the page and the real one: it passes files on and speaks the socket itself, with frames made ahead.
import assert from "node:assert/strict";
import http from "node:http";
import { after, before, test } from "node:test";
import { WebSocketServer } from "ws";
import { OBS, openBrowser, openPage } from "../support/browser.mjs";
import { Server, until } from "../support/server.mjs";

const SNAPSHOTS = 36_000;
const WARM = 6_000;
const BATCH = 300;
/** Ten snapshots a second at OBS's thirty frames. */
const FRAMES_EACH = 3;
const FRAME_MS = 1000 / 30;
/** A jeu lasts this many snapshots: five minutes. */
const JEU = 3_000;
/** How far the heap may be above what it was after the warm-up: noise of the collector. */
const HEAP_SLACK = 512 * 1024;

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
});
after(async () => {
  await browser.close();
  await server.stop();
});

const bilingual = (text) => ({ fr: text, en: text });
const CRITERES = ["fun", "graph", "duree", "son", "scenario"].map((key) => ({ key, labels: bilingual(key), min: 1, max: 5, step: 1, weight: 1, low: bilingual(""), high: bilingual(""), optional: true }));

/** Frames of the n-th snapshot: a tally each time, and a state when something begins or ends. */
function framesOf(n, startUs) {
  const index = Math.floor(n / JEU);
  const at = n % JEU;
  const phase = at < JEU - 100 ? "open" : at < JEU - 80 ? "closing" : "final";
  const nowUs = startUs + n * 100_000;
  const frames = [];
  if ([0, JEU - 200, JEU - 100, JEU - 80].includes(at)) {
    const programme = Array.from({ length: 12 }, (_, place) => ({
      jeu_id: place + 1,
      title: `Jeu numéro ${place + 1}`,
      phase: place < index ? "final" : place === index ? phase : "pending",
      epoch: 0,
      ...(place === index && phase === "open" && at > 0 && { closes_at_us: nowUs + 10_000_000 }),
    }));
    const live = { live_id: "L", channel: "heure", title: "", status: "open", current: index + 1, blind: false, minimum_votes: 1, bareme: { name: "", criteres: CRITERES }, scale: { min: 1, max: 5 }, programme };
    frames.push({ t: "state", rev: n + 1, channel_title: "", live, stale: false });
  }
  const criteres = CRITERES.map(({ key }, place) => {
    const histogram = [1, 2, 3, 4, 5].map((score) => Math.round(at * (1 + Math.sin(score + place + n / 50))));
    const count = histogram.reduce((a, b) => a + b, 0);
    return { key, count, mean: count ? histogram.reduce((sum, votes, k) => sum + votes * (k + 1), 0) / count : null, histogram };
  });
  frames.push({ t: "tally", live: "L", jeu: index + 1, epoch: 0, phase, rev: n + 1, voters: at * 7, mean: 3 + 2 * Math.sin(n / 20), criteres, as_of_us: nowUs });
  return frames.map((frame) => JSON.stringify(frame));
}

/** Passes requests on to the real server, and answers WebSockets itself. */
async function between(t) {
  const sockets = new WebSocketServer({ noServer: true });
  const connected = new Promise((resolve) => sockets.once("connection", resolve));
  const proxy = http.createServer((request, response) => {
    const onward = http.request({ port: server.port, host: "127.0.0.1", path: request.url, method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.end();
  });
  proxy.on("upgrade", (request, socket, head) => sockets.handleUpgrade(request, socket, head, (client) => sockets.emit("connection", client)));
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const client of sockets.clients) client.terminate();
    proxy.close();
  });
  return { origin: `http://127.0.0.1:${proxy.address().port}`, connected };
}

test("an hour of snapshots leaves heap and nodes as they were, at 2 ms of script each", async (t) => {
  const { overlay } = await server.seed({ slug: "heure", open_jeux: null });
  const { origin, connected } = await between(t);
  const page = await openPage(browser, "about:blank", { viewport: OBS });
  // Time runs with the snapshots: each brings three frames of 33 ms, as it would in OBS.
  await page.addInitScript(([frames, frameMs]) => {
    let now = 0;
    let queue = [];
    let id = 0;
    performance.now = () => now;
    window.requestAnimationFrame = (callback) => queue.push([(id += 1), callback]) && id;
    window.cancelAnimationFrame = (wanted) => (queue = queue.filter(([known]) => known !== wanted));
    const frame = () => {
      now += frameMs;
      const due = queue;
      queue = [];
      for (const [, callback] of due) callback(now);
    };
    window.handled = 0;
    const Real = window.WebSocket;
    window.WebSocket = class extends Real {
      constructor(url) {
        super(url);
        // After the page's own handler, which is set first.
        setTimeout(() => this.addEventListener("message", ({ data }) => {
          if (!data.startsWith('{"t":"tally"')) return frame();
          for (let n = 0; n < frames; n += 1) frame();
          window.handled += 1;
        }));
      }
    };
  }, [FRAMES_EACH, FRAME_MS]);
  await page.goto(`${origin}${overlay}&lang=fr`);
  const socket = await connected;
  const startUs = Date.now() * 1000;
  await page.evaluate(() => new Promise((done) => setTimeout(done)));
  socket.send(JSON.stringify({ t: "welcome", protocol: 1, now_us: startUs, build: await page.evaluate(() => document.body.dataset.build), channel: "heure", ping_interval_s: 20 }));

  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Performance.enable");
  const metrics = async () => Object.fromEntries((await devtools.send("Performance.getMetrics")).metrics.map(({ name, value }) => [name, value]));
  const weigh = async () => {
    await devtools.send("HeapProfiler.collectGarbage");
    await devtools.send("HeapProfiler.collectGarbage");
    const { JSHeapUsedSize: heap, Nodes: nodes, JSEventListeners: listeners, ScriptDuration: script, LayoutDuration: layout, RecalcStyleDuration: style } = await metrics();
    const attached = await page.evaluate(() => document.querySelectorAll("*").length);
    return { heap, nodes, listeners, attached, script, layout, style };
  };

  const began = performance.now();
  let warm;
  for (let sent = 0; sent < SNAPSHOTS; sent += BATCH) {
    for (let n = sent; n < sent + BATCH; n += 1) for (const text of framesOf(n, startUs)) socket.send(text);
    await until(`snapshot ${sent + BATCH}`, async () => (await page.evaluate(() => window.handled)) >= sent + BATCH, 30_000, 1);
    if (sent + BATCH === WARM) warm = await weigh();
  }
  const end = await weigh();
  assert.equal(await page.locator(".panel__title").textContent(), "Jeu numéro 12", "they all went through the page");
  const each = (name) => ((end[name] - warm[name]) * 1000) / (SNAPSHOTS - WARM);
  const mb = (bytes) => `${(bytes / 2 ** 20).toFixed(2)} MiB`;
  console.log(`36,000 snapshots in ${((performance.now() - began) / 1000).toFixed(0)} s; script ${each("script").toFixed(3)} ms a snapshot (layout ${each("layout").toFixed(3)}, style ${each("style").toFixed(3)})`);
  console.log(`heap ${mb(warm.heap)} after 6,000, ${mb(end.heap)} after 36,000; nodes ${warm.nodes} and ${end.nodes}; in the document ${warm.attached} and ${end.attached}; listeners ${warm.listeners} and ${end.listeners}`);
  assert.ok(each("script") <= 2, "script");
  assert.ok(end.heap <= warm.heap + HEAP_SLACK, "heap");
  assert.ok(end.nodes <= warm.nodes + 10, "no detached nodes gather");
  assert.ok(end.listeners <= warm.listeners, "no listeners gather");
  assert.deepEqual(page.problems, []);
  await page.context().close();
});
