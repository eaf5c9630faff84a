import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

/** Sockets the connection opened, newest last. */
let sockets = [];

class FakeSocket {
  static OPEN = 1;
  readyState = 0;
  sent = [];
  constructor(url) {
    this.url = url;
    sockets.push(this);
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.readyState = 3;
  }
  hear(message) {
    this.readyState = 1;
    this.onmessage?.({ data: JSON.stringify(message) });
  }
  drop(code) {
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

const target = () => ({ addEventListener() {}, removeEventListener() {} });
globalThis.WebSocket = FakeSocket;
globalThis.window = target();
globalThis.document = target();
const { Connection } = await import("../../lib/connection.js");

const welcome = (more = {}) => ({ t: "welcome", protocol: 1, now_us: Date.now() * 1000, build: "b", channel: "c", ping_interval_s: 10, ...more });
const live = { live_id: "l", status: "open", current: 1, programme: [{ jeu_id: 1, phase: "open" }] };
const state = (rev) => ({ t: "state", rev, channel_title: "c", live, stale: false });
const notes = (socket) => socket.sent.filter(({ t }) => t === "note");

let connection;
function connect(options = {}) {
  connection = new Connection({ url: "ws://x/ws/c", role: "viewer", build: "b", onChange() {}, ...options });
  return connection.start();
}

beforeEach(() => {
  sockets = [];
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_763_640_000_000 });
});
afterEach(() => {
  connection.stop();
  mock.timers.reset();
});

test("a lost connection comes back, and a note without an answer is sent again with its version", () => {
  connect();
  sockets[0].hear(welcome());
  sockets[0].hear(state(40));
  assert.equal(connection.snapshot.link, "live");
  connection.want("l", 1, { fun: 4 });
  const [note] = notes(sockets[0]);
  sockets[0].drop(1012);
  assert.equal(connection.snapshot.link, "lost");
  mock.timers.tick(1_600);
  assert.equal(sockets.length, 2);
  sockets[1].hear(welcome());
  assert.deepEqual(notes(sockets[1]), [note]);
  sockets[1].hear({ t: "reply", live: "l", jeu: 1, v: note.v, status: "ok" });
  assert.equal(connection.wishes.all().length, 0);
  assert.deepEqual(connection.snapshot.myNote(1) ?? connection.snapshot.mine.get("l/1"), { live: "l", jeu: 1, v: note.v, scores: { fun: 4 } });
});

test("a note chosen while offline is one note, sent once the server shows its live", () => {
  connect();
  connection.want("l", 1, { fun: 2 });
  connection.want("l", 1, { fun: 5 });
  assert.equal(sockets[0].sent.length, 0);
  sockets[0].hear(welcome());
  sockets[0].hear(state(1));
  assert.deepEqual(notes(sockets[0]).map(({ scores }) => scores), [{ fun: 5 }]);
});

test("a note for a live of another channel is kept for that channel's page, and not sent to this one", () => {
  const kept = new Map([["bareme.note/other/1", JSON.stringify({ live: "other", jeu: 1, v: Date.now() * 1000, scores: { fun: 4 } })]]);
  const storage = {
    length: 1,
    key: () => "bareme.note/other/1",
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
  };
  connect({ storage });
  sockets[0].hear(welcome());
  sockets[0].hear(state(1));
  mock.timers.tick(6_000);
  assert.deepEqual(notes(sockets[0]), []);
  assert.equal(kept.size, 1);
});

test("too_fast waits as told, then sends what is wanted by then", () => {
  connect();
  sockets[0].hear(welcome());
  connection.want("l", 1, { fun: 2 });
  const [{ v }] = notes(sockets[0]);
  sockets[0].hear({ t: "reply", live: "l", jeu: 1, v, status: "too_fast", retry_after_ms: 300 });
  mock.timers.tick(299);
  assert.equal(notes(sockets[0]).length, 1);
  // And a while that is left to chance.
  mock.timers.tick(201);
  assert.deepEqual(notes(sockets[0]).map((note) => note.v), [v, v]);
});

test("a server that starts anew counts anew, and is believed", () => {
  connect();
  sockets[0].hear(welcome());
  sockets[0].hear(state(900));
  sockets[0].drop(1006);
  mock.timers.tick(1_600);
  sockets[1].hear(welcome());
  sockets[1].hear({ ...state(1), channel_title: "new" });
  assert.equal(connection.snapshot.state.channel_title, "new");
});

test("silence is asked about, then given up", () => {
  connect();
  sockets[0].hear(welcome());
  const before = sockets[0].sent.filter(({ t }) => t === "ping").length;
  sockets[0].hear({ t: "pong", id: 1, now_us: Date.now() * 1000 });
  mock.timers.tick(12_000);
  assert.equal(sockets[0].sent.filter(({ t }) => t === "ping").length, before + 1);
  mock.timers.tick(22_000);
  mock.timers.tick(1_600);
  assert.ok(sockets.length > 1);
});

test("a page that wakes up with a dead socket has a new one within seconds", () => {
  connect();
  sockets[0].hear(welcome());
  sockets[0].hear({ t: "pong", id: 1, now_us: Date.now() * 1000 });
  mock.timers.tick(5_000);
  connection.wake();
  mock.timers.tick(6_000);
  mock.timers.tick(1_600);
  assert.ok(sockets.length > 1);
});

test("a revoked key is not tried again", () => {
  connect({ role: "overlay" });
  sockets[0].hear(welcome());
  sockets[0].drop(4003);
  mock.timers.tick(60_000);
  assert.equal(sockets.length, 1);
  assert.equal(connection.snapshot.link, "refused");
});

test("another build is told once per connection", () => {
  const builds = [];
  connect({ onOtherBuild: (build) => builds.push(build) });
  sockets[0].hear(welcome({ build: "other" }));
  assert.deepEqual(builds, ["other"]);
});

test("a browser without cookies shows its first token again", () => {
  connect();
  sockets[0].hear(welcome({ viewer: "first" }));
  sockets[0].drop(1006);
  mock.timers.tick(1_600);
  sockets[1].hear(welcome({ viewer: "second" }));
  assert.deepEqual(sockets[1].sent[0], { t: "hello", viewer: "first" });
});

/** Answers each new note of the newest socket by `answer`, for `forMs` of virtual time. */
function serve(forMs, answer, eachStep = () => {}) {
  let heard = 0;
  for (let ms = 0; ms < forMs; ms += 50) {
    eachStep(ms);
    const socket = sockets.at(-1);
    const news = notes(socket).slice(heard);
    heard += news.length;
    for (const note of news) if (answer) socket.hear({ t: "reply", live: "l", jeu: note.jeu, v: note.v, ...answer });
    if (ms % 5_000 === 0) socket.hear(state(ms));
    mock.timers.tick(50);
  }
  return notes(sockets.at(-1)).length;
}

for (const [what, answer, most] of [
  ["refuses", { status: "retry_after", retry_after_ms: 500 }, 20],
  ["does not know", { status: "unknown" }, 20],
  ["says nothing", null, 9],
]) {
  test(`a server that ${what} for 40 s is sent at most ${most} messages, however often the viewer taps`, () => {
    for (const taps of [1, 400]) {
      sockets = [];
      connect();
      sockets[0].hear(welcome());
      sockets[0].hear(state(1));
      const tap = (ms) => (ms === 0 || (taps > 1 && ms % 100 === 0)) && connection.want("l", 1, { fun: 1 + (ms % 5) });
      const sent = serve(40_000, answer, tap);
      assert.ok(sent >= 5 && sent <= most, `${sent} messages`);
      const wanted = connection.wishes.get("l", 1);
      serve(8_000, { status: "ok" });
      assert.equal(notes(sockets[0]).at(-1).v, wanted.v, "the newest one is what is sent in the end");
      assert.equal(connection.wishes.all().length, 0);
      connection.stop();
    }
  });
}

test("one jeu that waits does not hold up another, and an answer to an earlier note lets the newer one go", () => {
  connect();
  sockets[0].hear(welcome());
  sockets[0].hear(state(1));
  connection.want("l", 1, { fun: 1 });
  connection.want("l", 1, { fun: 2 });
  connection.want("l", 2, { fun: 3 });
  const [first, other] = notes(sockets[0]);
  assert.deepEqual([notes(sockets[0]).length, other.jeu], [2, 2], "one message on its way for each jeu");
  sockets[0].hear({ t: "reply", live: "l", jeu: 1, v: first.v, status: "ok" });
  assert.deepEqual(notes(sockets[0]).at(-1).scores, { fun: 2 });
});
