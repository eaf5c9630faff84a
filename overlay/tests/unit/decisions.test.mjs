import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { retryDelayMs, STAGE_QUICK_FOR_MS, verdictOnClose, VIEWER_QUICK_FOR_MS } from "../../lib/backoff.js";
import { noteStatus, noteWords } from "../../lib/note-status.js";
import { momentOf, nextEntry } from "../../lib/phase-words.js";
import { Drafts } from "../../lib/drafts.js";
import { createFormat } from "../../lib/format.js";
import { stripRows } from "../../lib/strip-rows.js";
import { createTexts } from "../../lib/i18n.js";
import { Snapshot } from "../../lib/snapshot.js";

const most = () => 1;

test("a restart is retried within two seconds, a long outage within ten", () => {
  assert.equal(retryDelayMs(0, 0, VIEWER_QUICK_FOR_MS, most), 150);
  for (let attempt = 0; attempt < 40; attempt += 1) {
    assert.ok(retryDelayMs(attempt, 19_000, VIEWER_QUICK_FOR_MS, most) <= 1_500);
    assert.ok(retryDelayMs(attempt, 60_000, STAGE_QUICK_FOR_MS, most) <= 1_500, "overlays stay quick");
  }
  assert.equal(retryDelayMs(30, 60_000, VIEWER_QUICK_FOR_MS, most), 10_000);
});

test("retries are spread over the whole delay", () => {
  assert.equal(retryDelayMs(3, 0, VIEWER_QUICK_FOR_MS, () => 0), 0);
  assert.equal(retryDelayMs(3, 0, VIEWER_QUICK_FOR_MS, () => 0.5), 600);
});

test("only a revoked key, a channel gone and our own mistakes end a connection", () => {
  for (const code of [1000, 1002, 1006, 1011, 1012, 4000, 4001, 4005, 4029]) assert.equal(verdictOnClose(code), "retry", String(code));
  assert.equal(verdictOnClose(4003), "refused");
  assert.equal(verdictOnClose(4004), "gone");
  for (const code of [1003, 1007, 1009]) assert.equal(verdictOnClose(code), "refused");
});

test("saved is said only of a note the server confirmed", () => {
  const mine = { live: "l", jeu: 1, v: 9, scores: { fun: 4 } };
  const wish = { live: "l", jeu: 1, v: 10, scores: { fun: 5 } };
  const facts = { wish: null, mine: null, refusal: null, link: /** @type {const} */ ("live"), missing: 0, takesNotes: true };
  assert.equal(noteStatus(facts), "none");
  assert.equal(noteStatus({ ...facts, mine }), "saved");
  assert.equal(noteStatus({ ...facts, mine, wish }), "sending");
  assert.equal(noteStatus({ ...facts, mine, wish, link: "lost" }), "kept");
  assert.equal(noteStatus({ ...facts, mine, refusal: { status: "closed" } }), "refused");
  assert.equal(noteStatus({ ...facts, missing: 1 }), "incomplete");
  assert.equal(noteStatus({ ...facts, mine: { ...mine, scores: {} } }), "withdrawn");
  assert.equal(noteStatus({ ...facts, takesNotes: false }), "final");
});

test("offline, a page invites to vote; what is saved stays saved", () => {
  const facts = { wish: null, mine: null, refusal: null, link: /** @type {const} */ ("lost"), missing: 0, takesNotes: true };
  assert.equal(noteStatus(facts), "offline");
  assert.equal(noteStatus({ ...facts, mine: { live: "l", jeu: 1, v: 9, scores: { fun: 3 } } }), "saved");
  assert.equal(noteStatus({ ...facts, takesNotes: false }), "final");
});

test("a refusal is said in the words of the page, never in those of the server", () => {
  const catalogue = JSON.parse(readFileSync(new URL("../../messages/fr/viewer.json", import.meta.url), "utf8"));
  const t = createTexts(catalogue, "fr");
  const bareme = { criteres: [{ key: "fun", labels: { fr: "Amusement", en: "Fun" } }] };
  const said = (status, field, rule) => noteWords("refused", { status, v: 1, problem: field && { field, rule, reason: "is 9", remedy: "send less" } }, 0, bareme, t);
  for (const status of ["stale", "closed", "not_open"]) assert.equal(said(status), catalogue[`refusal.${status}`]);
  assert.match(said("invalid", "fun", "out_of_range"), /n’est pas sur l’échelle de «.Amusement.»/u);
  assert.match(said("invalid", "fun", "off_step"), /Amusement/);
  assert.match(said("invalid", "fun", "required"), /Il faut aussi noter «.Amusement.»/u);
  assert.equal(said("invalid", "live", "wrong_live"), catalogue["refusal.other_live"]);
  for (const [field, rule] of [["scores", "no_score"], ["viewer", "invalid_viewer"], [undefined, undefined]]) assert.equal(said("invalid", field, rule), catalogue["refusal.invalid"]);
});

test("drafts keep sans avis and incomplete scores, forget old ones, and live on where storage is forbidden", () => {
  const storage = {};
  const methods = { getItem: (key) => storage[key] ?? null, setItem: (key, value) => (storage[key] = value), removeItem: (key) => delete storage[key] };
  for (const [name, value] of Object.entries(methods)) Object.defineProperty(storage, name, { value, enumerable: false });
  const drafts = new Drafts(storage);
  drafts.set("l", 1, null, "fun", true);
  drafts.set("l", 1, { graph: 2 }, "graph", false);
  const again = new Drafts(storage);
  assert.deepEqual([again.abstains("l", 1, "fun"), again.abstains("l", 1, "graph"), again.scores("l", 1)], [true, false, { graph: 2 }]);
  again.set("l", 1, null, "fun", false);
  assert.equal(new Drafts(storage).abstains("l", 1, "fun"), false);
  storage["bareme.draft/old/1"] = JSON.stringify({ at: 1, scores: null, none: ["fun"] });
  storage["bareme.draft/odd/1"] = "{";
  new Drafts(storage);
  assert.deepEqual(Object.keys(storage), ["bareme.draft/l/1"]);
  const forbidden = new Drafts(null);
  forbidden.set("l", 1, null, "fun", true);
  assert.ok(forbidden.abstains("l", 1, "fun"));
  forbidden.clear("l", 1);
  assert.equal(forbidden.abstains("l", 1, "fun"), false);
});

test("the rows of a live that is over are its ranking; what has no result stands at the end, without a place", () => {
  const scale = { min: 1, max: 5 };
  const entry = (jeu_id, phase) => ({ jeu_id, title: `Jeu ${jeu_id}`, phase, epoch: 0 });
  const over = { live_id: "l", status: "closed", current: 1, scale, minimum_votes: 1, bareme: { criteres: [{ key: "fun", min: 1, max: 5, step: 1, weight: 1 }] }, programme: [entry(1, "final"), entry(2, "final"), entry(3, "pending"), entry(4, "closing"), entry(5, "final")] };
  const means = { 1: 3, 2: 4.5, 4: 5, 5: 3 };
  const view = (status) => ({
    live: { ...over, status },
    tallyOf: (jeu) => (means[jeu] ? { mean: means[jeu], voters: jeu === 5 ? 9 : 2 } : null),
    scoresOf: (jeu) => (jeu === 2 ? { fun: 4 } : {}),
    clock: { msUntil: () => 0 },
    shown: null,
    t: Object.assign((key) => key, { n: (key, n) => `${n} votes` }),
    format: createFormat("en"),
  });
  const rows = stripRows(view("closed"));
  assert.deepEqual(rows.map(({ place, jeu_id, mean, share }) => [place, jeu_id, mean, share]), [["1", 2, "4.5", 0.875], ["2", 5, "3.0", 0.5], ["2", 1, "3.0", 0.5], ["", 3, "–", null], ["", 4, "–", null]]);
  assert.deepEqual(rows.map(({ words }) => words), ["2 votes", "9 votes", "2 votes", "viewer.not_played", "phase.finalising"]);
  assert.deepEqual(rows.map(({ reachable, mine }) => [reachable, mine !== ""]), [[true, true], [true, false], [true, false], [false, false], [true, false]]);
  assert.deepEqual(stripRows(view("open")).map(({ place, jeu_id, current }) => [place, jeu_id, current]), [["1", 1, true], ["2", 2, false], ["3", 3, false], ["4", 4, false], ["5", 5, false]]);
});

test("an announced end is closing until its instant, then finalising", () => {
  const entry = { jeu_id: 1, title: "x", epoch: 0, phase: /** @type {const} */ ("open") };
  assert.equal(momentOf(entry, 0), "open");
  assert.equal(momentOf({ ...entry, closes_at_us: 1 }, 800), "closing");
  assert.equal(momentOf({ ...entry, closes_at_us: 1 }, 0), "finalising");
  assert.equal(momentOf({ ...entry, phase: "closing" }, 0), "finalising");
});

test("plurals follow the language: zero is singular in French", () => {
  const messages = { "votes.one": "{n} vote", "votes.other": "{n} votes" };
  assert.equal(createTexts(messages, "fr").n("votes", 0), "0 vote");
  assert.equal(createTexts(messages, "en").n("votes", 0), "0 votes");
  assert.equal(createTexts(messages, "en").n("votes", 1), "1 vote");
});

const live = { live_id: "l1", current: 1, programme: [] };
const state = (rev, id = "l1") => ({ rev, channel_title: "c", live: { ...live, live_id: id }, stale: false });
const tally = (rev, voters) => ({ live: "l1", jeu: 1, rev, voters });

test("an older frame changes nothing, but after a reconnection any frame is news", () => {
  const snapshot = new Snapshot();
  snapshot.applyState(state(900));
  assert.equal(snapshot.applyTally(tally(70, 12)), true);
  assert.equal(snapshot.applyTally(tally(69, 11)), false);
  assert.equal(snapshot.tally(1)?.voters, 12);
  snapshot.forgetRevs();
  assert.equal(snapshot.tally(1)?.voters, 12, "old numbers stay until there are new ones");
  assert.equal(snapshot.applyState(state(1)), true);
  assert.equal(snapshot.applyTally(tally(1, 13)), true);
  assert.equal(snapshot.tally(1)?.voters, 13);
});

test("the same numbers come again without their mask after one's own note, and only once", () => {
  const snapshot = new Snapshot();
  snapshot.applyState(state(1));
  assert.equal(snapshot.applyTally({ ...tally(7, 12), masked: "blind" }), true);
  assert.equal(snapshot.applyTally({ ...tally(7, 12), masked: "blind" }), false);
  assert.equal(snapshot.applyTally({ ...tally(7, 12), mean: 4 }), true);
  assert.equal(snapshot.tally(1)?.mean, 4);
  assert.equal(snapshot.applyTally({ ...tally(7, 12), mean: 4 }), false);
});

test("numbers of another live leave with it", () => {
  const snapshot = new Snapshot();
  snapshot.applyState(state(1));
  snapshot.applyTally(tally(1, 12));
  snapshot.applyState(state(2, "l2"));
  assert.equal(snapshot.tallies.size, 0);
});

test("the next jeu is the one that the server would open", () => {
  const programme = ["final", "final", "closing", "open", "pending"].map((phase, index) => ({ jeu_id: index + 1, title: "", phase, epoch: 0 }));
  assert.equal(nextEntry({ programme, current: 1 })?.jeu_id, 4);
  assert.equal(nextEntry({ programme, current: 4 })?.jeu_id, 5);
  assert.equal(nextEntry({ programme, current: 5 }), null);
  assert.equal(nextEntry({ programme, current: null })?.jeu_id, 4);
});
