import assert from "node:assert/strict";
import { test } from "node:test";
import { contrast, readableOn, textOn } from "../../lib/overlay-accent.js";
import { LOOP_MS, framesAt } from "../../lib/overlay-demo.js";
import { Director, RANKING_MS, REVEAL_MS, subjectOf, takesNotes } from "../../lib/overlay-scene.js";
import { readOverlaySettings, shownCriteres } from "../../lib/overlay-settings.js";
import { rankingOf } from "../../lib/ranking.js";
import { ServerClock } from "../../lib/clock.js";
import { Snapshot } from "../../lib/snapshot.js";

const settings = (query, still = false) => readOverlaySettings(new URL(`https://example.org/overlay/max?${query}`), still);

test("settings of an overlay are read from its URL", () => {
  assert.deepEqual(settings("key=k&theme=band&pos=tr&scale=1.5&criteres=fun,%20graph&motion=off&demo=final&qr=idle&ranking=end&accent=%2300AAff"), {
    key: "k", theme: "band", pos: "tr", scale: 1.5, criteres: ["fun", "graph"], motion: false, demo: "final", qr: "idle", ranking: "end", accent: "#00aaff",
  });
  assert.equal(settings("accent=fc0").accent, "#fc0");
});

test("a setting that is not understood counts as not said", () => {
  const usual = settings("");
  assert.deepEqual(usual, { key: "", theme: "card", pos: "bl", scale: 1, criteres: null, motion: true, demo: "off", qr: "off", ranking: "each", accent: null });
  for (const bad of ["", "no", "ON", "%00", "<b>", "-1", "NaN", "1e99", "constructor", "__proto__", ",", " , "]) {
    const query = ["theme", "pos", "scale", "motion", "demo", "qr", "ranking", "accent"].map((name) => `${name}=${bad}`).join("&");
    assert.deepEqual(settings(query), usual, bad);
  }
  assert.deepEqual(settings("criteres=,%20,"), usual);
  assert.deepEqual(settings("accent=red;}body{display:none").accent, null);
});

test("a computer that asks for less motion gets none, unless the URL asks for it", () => {
  assert.equal(settings("", true).motion, false);
  assert.equal(settings("motion=on", true).motion, true);
});

test("criteres that do not exist leave the others, and all when none is left", () => {
  const bareme = { name: "", criteres: [{ key: "fun" }, { key: "graph" }] };
  assert.deepEqual(shownCriteres(bareme, ["graph", "nope"]).map(({ key }) => key), ["graph"]);
  for (const keys of [null, ["nope"]]) assert.equal(shownCriteres(bareme, keys).length, 2);
});

test("text on any accent has a contrast of 4.5 at least, and the accent as text one of 3", () => {
  const rgb = (text) => (text.startsWith("#") ? text.slice(1).match(/../g).map((hex) => parseInt(hex, 16)) : text.match(/\d+/g).map(Number));
  const panels = [[16, 18, 24], [247, 245, 240]];
  for (let n = 0; n < 512; n += 1) {
    const accent = [n >> 6, (n >> 3) & 7, n & 7].map((part) => Math.round((part * 255) / 7));
    assert.ok(contrast(accent, rgb(textOn(accent))) >= 4.5, String(accent));
    for (const panel of panels) assert.ok(contrast(rgb(readableOn(accent, panel)), panel) >= 3, String(accent));
  }
  assert.equal(textOn([255, 91, 53]), "#101218");
  assert.equal(textOn([20, 30, 140]), "#ffffff");
  assert.equal(readableOn([255, 91, 53], panels[0]), "rgb(255 91 53)", "an accent that can be read stays as it is");
});

const entry = (jeu_id, phase) => ({ jeu_id, title: `Jeu ${jeu_id}`, phase, epoch: 0 });
const tallies = (means) => (jeu) => (means[jeu] === undefined ? null : { mean: means[jeu][0], voters: means[jeu][1] });

test("the ranking has final jeux with a mean, best first; equal means share a place", () => {
  const live = { programme: [entry(1, "final"), entry(2, "final"), entry(3, "open"), entry(4, "final"), entry(5, "final"), entry(6, "final")] };
  const rows = rankingOf(live, tallies({ 1: [3, 10], 2: [4, 5], 3: [5, 5], 4: [4, 9], 5: [null, 2] }));
  assert.deepEqual(rows.map(({ entry, place }) => [entry.jeu_id, place]), [[4, 1], [2, 1], [1, 3]]);
});

/** A stage with a clock of its own. */
function play(director = new Director()) {
  let nowMs = 1_000_000;
  const clock = new ServerClock(() => nowMs);
  const snapshot = new Snapshot();
  let rev = 0;
  return {
    director,
    pass: (ms) => (nowMs += ms),
    nowUs: () => nowMs * 1000,
    state(live) {
      rev += 1;
      snapshot.applyState({ rev, channel_title: "", stale: false, live });
    },
    tally(jeu, mean, voters, more = {}) {
      rev += 1;
      snapshot.applyTally({ live: "L", jeu, epoch: 0, phase: "open", rev, mean, voters, criteres: [], as_of_us: 0, ...more });
    },
    look: () => director.direct(snapshot, clock),
  };
}
const live = (status, current, programme, more = {}) => ({ live_id: "L", status, current, programme, ...more });

test("while the result is made the numbers hold still, and the last votes show with it", () => {
  const { state, tally, look } = play();
  tally(1, 4, 10);
  state(live("open", 1, [entry(1, "open")]));
  tally(1, 4, 10);
  assert.equal(look().scene.tally.voters, 10);
  state(live("open", 1, [entry(1, "closing")]));
  tally(1, 4.5, 12);
  assert.deepEqual([look().scene.moment, look().scene.tally.voters], ["finalising", 10]);
  state(live("open", 1, [entry(1, "final")]));
  assert.deepEqual([look().scene.moment, look().scene.tally.voters], ["final", 12]);
});

test("an ended live shows its last result, then the ranking for a while, then nothing", () => {
  const { state, tally, look, pass } = play();
  const final = [entry(1, "final"), entry(2, "final")];
  state(live("open", 2, [entry(1, "final"), entry(2, "open")]));
  tally(1, 3, 5);
  tally(2, 4, 5);
  assert.equal(look().scene.kind, "jeu");
  state(live("closed", 2, [entry(1, "final"), entry(2, "closing")]));
  assert.equal(look().scene.moment, "finalising");
  pass(2_000);
  state(live("closed", 2, final));
  assert.deepEqual([look().scene.kind, look().scene.moment, look().scene.place], ["jeu", "final", 1]);
  pass(look().againInMs);
  assert.deepEqual([look().scene.kind, subjectOf(look().scene)], ["ranking", "L/ranking"]);
  pass(RANKING_MS - REVEAL_MS - 3_000);
  assert.equal(look().scene.kind, "ranking");
  pass(look().againInMs);
  assert.equal(look().scene.kind, "none");
});

/** A second result, made while the page looks on. */
function secondResult(director) {
  const stage = play(director);
  stage.state(live("open", 2, [entry(1, "final"), entry(2, "open"), entry(3, "pending")]));
  stage.tally(1, 3, 5);
  stage.tally(2, 4, 5);
  stage.look();
  stage.state(live("open", 2, [entry(1, "final"), entry(2, "final"), entry(3, "pending")]));
  return stage;
}

test("a result is followed by the ranking so far, and comes back after it", () => {
  const { look, pass } = secondResult();
  assert.deepEqual([look().scene.kind, look().againInMs], ["jeu", REVEAL_MS]);
  pass(REVEAL_MS);
  const { scene, againInMs } = look();
  assert.deepEqual([scene.kind, scene.arrived, scene.rows.map((row) => row.entry.jeu_id)], ["ranking", 2, [2, 1]]);
  pass(againInMs - 1);
  assert.equal(look().scene.kind, "ranking");
  pass(1);
  assert.deepEqual([look().scene.kind, look().scene.moment, look().againInMs], ["jeu", "final", null]);
});

test("the next jeu does not wait for the ranking so far", () => {
  const { look, pass, state } = secondResult();
  look();
  pass(REVEAL_MS + 1_000);
  assert.equal(look().scene.kind, "ranking");
  state(live("open", 3, [entry(1, "final"), entry(2, "final"), entry(3, "open")]));
  assert.deepEqual([look().scene.kind, look().scene.entry.jeu_id], ["jeu", 3]);
  state(live("open", 2, [entry(1, "final"), entry(2, "final"), entry(3, "open")]));
  assert.equal(look().scene.kind, "jeu", "an old result is no news");
});

test("no ranking so far after the first result, after one that was there already, nor where it is not wanted", () => {
  const first = play();
  first.state(live("open", 1, [entry(1, "open"), entry(2, "pending")]));
  first.tally(1, 3, 5);
  first.look();
  first.state(live("open", 1, [entry(1, "final"), entry(2, "pending")]));
  const there = play();
  there.state(live("open", 2, [entry(1, "final"), entry(2, "final")]));
  there.tally(1, 3, 5);
  there.tally(2, 4, 5);
  for (const { look, pass } of [first, there, secondResult(new Director({ withStandings: false }))]) {
    assert.deepEqual([look().scene.kind, look().againInMs], ["jeu", null]);
    pass(REVEAL_MS);
    assert.equal(look().scene.kind, "jeu");
  }
});

test("a page that opens after the end shows the ranking only when it knows when that was", () => {
  const { state, tally, look, pass, nowUs } = play();
  const final = [entry(1, "final"), entry(2, "final")];
  state(live("closed", 2, final));
  assert.equal(look().scene.kind, "none");
  state(live("closed", 2, final, { closed_at_us: nowUs() - 10_000_000 }));
  tally(1, 3, 5);
  tally(2, 4, 5);
  assert.equal(look().scene.kind, "ranking");
  pass(RANKING_MS);
  assert.equal(look().scene.kind, "none");
});

test("one result alone is no ranking; an undone end shows the jeu again", () => {
  const { state, tally, look, pass } = play();
  state(live("open", 1, [entry(1, "open")]));
  tally(1, 3, 5);
  look();
  state(live("closed", 1, [entry(1, "final")]));
  look();
  pass(REVEAL_MS + 1);
  assert.deepEqual([look().scene.kind, look().scene.moment], ["jeu", "final"]);
  state(live("open", 1, [entry(1, "open")]));
  assert.equal(takesNotes(look().scene), true);
});

test("a demo is the same at the same instant, and runs through every moment", () => {
  const seen = new Set();
  for (let ms = 0; ms < LOOP_MS; ms += 100) {
    assert.deepEqual(framesAt("on", ms, 0), framesAt("on", ms, 0));
    const { state, tallies: frames } = framesAt("on", ms, 0);
    const current = state.live.programme.find(({ jeu_id }) => jeu_id === state.live.current);
    seen.add(`${state.live.status} ${current.phase}${current.closes_at_us ? " announced" : ""}`);
    for (const { mean, voters, criteres } of frames) {
      assert.ok(mean === null || (mean >= 1 && mean <= 5));
      for (const { count } of criteres) assert.ok(Math.abs(count - voters) <= 3, "every viewer rates every critere");
    }
  }
  assert.deepEqual([...seen].sort(), ["closed final", "open closing", "open final", "open open", "open open announced", "open pending"]);
});
