// The real server against docs/asyncapi.yaml: every frame it sends in some sessions is what the schema says, and what the
// schema refuses the server refuses.
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import WebSocket from "ws";
import { Server, until } from "../browser/support/server.mjs";
import { readMessages } from "./document.mjs";

/** How many messages one socket may send at once; the sessions stay below it, unless they want to be refused. */
const BURST = 40;

let messages;
let server;
const seen = new Map();

/** A socket that holds each frame against its schema as it comes. */
class Page {
  static async open(path, headers = {}) {
    const page = new Page();
    page.frames = [];
    page.socket = new WebSocket(`${server.origin.replace("http", "ws")}/ws/${path}`, { headers });
    page.socket.on("message", (data, isBinary) => {
      assert.ok(!isBinary);
      page.frames.push(JSON.parse(data.toString()));
    });
    await once(page.socket, "open");
    await page.hear("state");
    return page;
  }

  send(message) {
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  /** The first frame of a type that is wanted, from frame `from` on. */
  hear(type, wanted = () => true, from = 0) {
    const found = () => this.frames.slice(from).find((frame) => frame.t === type && wanted(frame));
    return until(`a ${type} frame among ${JSON.stringify(this.frames.slice(from))}`, found);
  }

  /** Sends a message of the contract and hears the reply to it. */
  async ask(message, from = this.frames.length) {
    assert.equal(messages.get(message.t).problem(message), null, JSON.stringify(message));
    this.send(message);
    return this.hear("reply", (reply) => reply.v === message.v, from);
  }

  /** Ends the session and checks all it heard. */
  async close() {
    this.socket.close(1000);
    await once(this.socket, "close");
    assert.deepEqual(this.frames.slice(0, 2).map(({ t }) => t), ["welcome", "state"]);
    for (const frame of this.frames) {
      const message = messages.get(frame.t);
      assert.equal(message?.sender, "server", `not in the contract: ${JSON.stringify(frame)}`);
      assert.equal(message.problem(frame), null, JSON.stringify(frame));
      const kind = frame.t === "reply" ? `reply ${frame.status}` : frame.t;
      seen.set(kind, (seen.get(kind) ?? 0) + 1);
    }
    return this.frames;
  }
}

let clock = Date.now() * 1000;
const version = () => (clock = Math.max(clock + 1, Date.now() * 1000));

before(async () => {
  messages = await readMessages();
  server = await Server.start();
});

after(async () => {
  await server?.stop();
  const counts = [...seen].sort().map(([kind, count]) => `${kind} ${count}`);
  console.log(`frames: ${counts.join(", ")}`);
});

test("a channel without a live", async () => {
  await server.api("POST", "admin/channels", { slug: "bare", title: "Rien encore" });
  const page = await Page.open("bare");
  assert.equal((await page.hear("state")).live, null);
  await page.close();
});

test("a viewer votes, is refused, and comes back", async () => {
  const { slug, live_id: live, jeux } = await server.seed({ slug: "votes" });
  const [jeu, later] = jeux;
  const page = await Page.open(slug);
  const welcome = await page.hear("welcome");
  const { live: shown } = await page.hear("state");
  const { key, min, max } = shown.bareme.criteres[0];

  page.send({ t: "ping", id: 7 });
  assert.equal((await page.hear("pong")).id, 7);

  const note = { t: "note", live, jeu, v: version(), scores: { [key]: max } };
  assert.equal((await page.ask(note)).status, "ok");
  await page.hear("tally", (tally) => tally.jeu === jeu && tally.voters === 1);
  const older = await page.ask({ ...note, v: note.v - 1, scores: { [key]: min } });
  assert.deepEqual([older.status, older.held], ["stale", { v: note.v, scores: { [key]: max } }]);
  const wrong = await page.ask({ ...note, v: version(), scores: { [key]: 99_999 } });
  assert.deepEqual([wrong.status, wrong.problem.field], ["invalid", key]);
  const ahead = await page.ask({ ...note, v: version() + 3_600_000_000 });
  assert.deepEqual([ahead.status, ahead.problem.field], ["invalid", "v"]);
  assert.equal((await page.ask({ ...note, jeu: later, v: version() })).status, "not_open");
  const elsewhere = await page.ask({ ...note, live: "019b76da-a800-7000-8000-000000000001", v: version() });
  assert.deepEqual([elsewhere.status, elsewhere.problem.field], ["invalid", "live"]);

  // A closing that is announced, and one that is over.
  await server.api("POST", `admin/lives/${live}/jeux/${jeu}/close`, { delay_ms: 300 });
  await page.hear("state", (state) => state.live.programme[0].closes_at_us);
  await page.hear("tally", (tally) => tally.phase === "final");
  assert.equal((await page.ask({ ...note, v: version() })).status, "closed");

  await server.api("POST", `admin/lives/${live}/jeux/${later}/open`);
  await page.hear("state", (state) => state.live.programme[1].phase === "open");
  const second = { t: "note", live, jeu: later, v: version(), scores: { [key]: min } };
  assert.equal((await page.ask(second)).status, "ok");
  assert.equal((await page.ask({ t: "withdraw", live, jeu: later, v: version() })).status, "ok");
  await page.close();

  const again = await Page.open(slug);
  again.send({ t: "hello", viewer: welcome.viewer });
  assert.deepEqual((await again.hear("mine", (mine) => mine.jeu === jeu)).scores, { [key]: max });
  assert.deepEqual((await again.hear("mine", (mine) => mine.jeu === later)).scores, {});
  await again.close();

  const stranger = await Page.open(slug);
  stranger.send({ t: "hello", viewer: "A".repeat(43) });
  assert.equal((await stranger.hear("reply")).problem.field, "viewer");
  for (let id = 0; id < 2 * BURST; id += 1) stranger.send({ t: "ping", id });
  assert.ok((await stranger.hear("reply", ({ status }) => status === "too_fast")).retry_after_ms > 0);
  await stranger.close();

  const ended = await Page.open(slug);
  await server.api("POST", `admin/lives/${live}/close`, { delay_ms: 300 });
  await ended.hear("state", (state) => state.live.ends_at_us);
  await ended.hear("state", (state) => state.live.status === "closed");
  await ended.close();
});

test("what is masked, to an overlay and to an admin", async () => {
  const blind = await server.seed({ slug: "blind", preset: 1, live: { blind: true } });
  const minimum = await server.seed({ slug: "minimum", live: { minimum_votes: 3 } });
  const details = { title: "Turbo Escargot", platform: "PC", genre: "Course", year: 2026 };
  const { jeu_id } = await server.api("POST", `admin/channels/${blind.slug}/jeux`, details);
  for (const { slug, key, masked } of [{ ...blind, masked: "blind" }, { ...minimum, masked: "minimum" }]) {
    const viewer = await Page.open(slug);
    const { live } = await viewer.hear("state");
    const scores = Object.fromEntries(live.bareme.criteres.map((critere) => [critere.key, critere.min]));
    const overlay = await Page.open(`${slug}?role=overlay&key=${key.key}`);
    const note = { t: "note", live: live.live_id, jeu: live.programme[0].jeu_id, v: version(), scores };
    assert.equal((await viewer.ask(note)).status, "ok");
    await overlay.hear("tally", (tally) => tally.masked === masked && tally.voters === 1);
    assert.equal((await overlay.hear("welcome")).viewer, undefined);
    const admin = await Page.open(`${slug}?role=admin`, { Authorization: `Bearer ${server.token}` });
    await admin.hear("admin");
    const tally = await admin.hear("tally", ({ voters }) => voters === 1);
    assert.deepEqual([tally.masked, tally.criteres.length], [undefined, live.bareme.criteres.length]);
    await Promise.all([viewer, overlay, admin].map((page) => page.close()));
  }
  const full = await server.api("POST", `admin/channels/${blind.slug}/lives`, {
    title: "Tout",
    bareme_id: (await server.api("GET", `admin/channels/${blind.slug}/baremes`))[0].bareme_id,
    jeux: [jeu_id],
  });
  await server.api("POST", `admin/lives/${blind.live_id}/close`, { delay_ms: 0 });
  await until("the blind live is over", () =>
    server.api("GET", `admin/lives/${blind.live_id}`).then(({ status }) => status === "closed"));
  await server.api("POST", `admin/lives/${full.live_id}/open`, {});
  const page = await Page.open(blind.slug);
  const state = await page.hear("state", ({ live }) => live.title === "Tout");
  assert.equal(state.live.programme[0].genre, "Course");
  await page.close();
});

test("a rehearsal, to an overlay", async () => {
  const channel = await server.api("POST", "admin/channels", { slug: "rehearsal", title: "Répétition" });
  const { key } = await server.api("POST", `admin/channels/${channel.slug}/overlay-keys`, {});
  const overlay = await Page.open(`${channel.slug}?role=overlay&key=${key}`);
  await server.api("POST", `admin/channels/${channel.slug}/test-mode`, { on: true, votes_per_s: 50 });
  const { live } = await overlay.hear("state", (state) => state.live?.test === true);
  await overlay.hear("tally", (tally) => tally.live === live.live_id && tally.mean !== null);
  const from = overlay.frames.length;
  await server.api("POST", `admin/channels/${channel.slug}/test-mode`, { on: false });
  await overlay.hear("state", (state) => state.live === null, from);
  await overlay.close();
});

/** A message with one thing wrong each time. */
function* wrongs(message) {
  yield { ...message, nobody_knows: 1 };
  yield { ...message, t: "nobody_knows" };
  for (const field of Object.keys(message)) {
    const { [field]: _, ...rest } = message;
    yield rest;
    for (const value of [-1, 1.5, 2 ** 53, "x", true, null, [], {}, { fun: "4" }, { fun: [4] }]) yield { ...message, [field]: value };
  }
  yield Object.values(message);
}

test("what the schema refuses is refused, and the socket stays", async () => {
  const { slug, live_id: live, jeux } = await server.seed({ slug: "wrong" });
  const valid = [
    { t: "note", live, jeu: jeux[0], v: version(), scores: { fun: 4 } },
    { t: "withdraw", live, jeu: jeux[0], v: version() },
    { t: "hello", viewer: "A".repeat(43) },
    { t: "ping", id: 1 },
  ];
  assert.deepEqual(valid.map(({ t }) => t).sort(), [...messages.values()].filter(({ sender }) => sender === "client").map(({ name }) => name).sort());
  const refuses = (wrong) => !(messages.get(wrong.t)?.problem(wrong) === null);
  const wrong = valid.flatMap((message) => [...wrongs(message)]).filter(refuses);
  assert.ok(wrong.length > 50, `${wrong.length}`);
  // Each takes two messages: itself, and a ping whose pong says that all the answers are there.
  while (wrong.length > 0) {
    const page = await Page.open(slug);
    for (const message of wrong.splice(0, BURST / 2)) {
      const from = page.frames.length;
      page.send(message);
      page.send({ t: "ping", id: from });
      await page.hear("pong", ({ id }) => id === from, from);
      const replies = page.frames.slice(from).filter(({ t }) => t === "reply");
      const told = `${JSON.stringify(message)}: ${JSON.stringify(replies)}`;
      assert.deepEqual(replies.map(({ status }) => status), ["invalid"], told);
    }
    await page.close();
  }
});

test("every kind of frame was seen", () => {
  // `unknown` and `retry_after` take a store that fails; server/tests/it has one.
  const wanted = ["welcome", "state", "tally", "mine", "pong", "admin"];
  for (const status of ["ok", "stale", "closed", "not_open", "invalid", "too_fast"]) wanted.push(`reply ${status}`);
  assert.deepEqual(wanted.filter((kind) => !seen.has(kind)), []);
});
