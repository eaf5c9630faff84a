import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Admin } from "../../lib/admin.js";
import { problemWords } from "../../lib/actions.js";
import { ApiError } from "../../lib/api.js";
import { ServerClock } from "../../lib/clock.js";
import { createTexts } from "../../lib/i18n.js";
import { hoursMinutesSeconds, minutesSeconds } from "../../lib/live-clock.js";
import { changeProgramme, moved } from "../../lib/programme.js";
import { shortcutOf } from "../../lib/shortcuts.js";
import { slugOf } from "../../lib/slug.js";
import { latestClosing, undoLeftMs } from "../../lib/undo.js";

const words = (lang) => createTexts(JSON.parse(readFileSync(new URL(`../../messages/${lang}/problems.json`, import.meta.url), "utf8")), lang);
const press = (key, code, more = {}) => shortcutOf({ key, code, ctrlKey: false, altKey: false, metaKey: false, shiftKey: false, repeat: false, defaultPrevented: false, ...more });

test("a key means what is printed on it, a digit its place, and a chord or a held key nothing", () => {
  assert.equal(press("n", "KeyN"), "n");
  assert.equal(press("N", "KeyN"), "n", "caps lock");
  assert.equal(press("N", "KeyN", { shiftKey: true }), "");
  assert.equal(press("&", "Digit1"), "1", "AZERTY");
  assert.equal(press("1", "Digit1", { shiftKey: true }), "1", "AZERTY with Shift");
  assert.equal(press("0", "Digit0"), "");
  assert.equal(press("?", "Comma", { shiftKey: true }), "?");
  for (const more of [{ ctrlKey: true }, { altKey: true }, { metaKey: true }, { repeat: true }, { defaultPrevented: true }]) assert.equal(press("f", "KeyF", more), "");
});

test("a refusal is said in the page's language, of its field, or in the server's words when the rule is news", () => {
  const error = (problem, status = 422) => new ApiError(status, problem);
  const fr = words("fr");
  assert.equal(problemWords(error({ field: "title", rule: "too_long", params: { max: 200 } }), fr), "titre\u202f: au plus 200 caractères");
  assert.equal(problemWords(error({ field: "title", rule: "too_long", params: { max: 200 } }), words("en")), "title: at most 200 characters");
  assert.match(problemWords(error({ field: "criteres[1].step", rule: "off_step", params: { min: 0, max: 5, step: 0.5 } }), fr), /^pas\u202f: .*0,5/);
  assert.equal(problemWords(error({ code: "moved_on", rule: "moved_on", params: {} }, 409), fr), "Quelqu’un est déjà passé au jeu suivant.");
  assert.equal(problemWords(error({ field: "title", rule: "of_tomorrow", reason: "too blue", remedy: "send less blue" }), fr), "titre\u202f: too blue; send less blue");
  assert.match(problemWords(new ApiError(0, { code: "unreachable" }), fr), /ne répond pas/);
  assert.match(problemWords(new TypeError("oops"), fr), /pas marché/);
});

test("what ended can be taken back for 30 s, and the latest closing is the one a key means", () => {
  const clock = new ServerClock(() => 100_000);
  assert.equal(undoLeftMs(undefined, clock), 0);
  assert.equal(undoLeftMs(90_000_000, clock), 20_000);
  assert.equal(undoLeftMs(60_000_000, clock), 0);
  assert.equal(undoLeftMs(130_000_000, clock), 30_000, "a clock that is behind does not make it longer");
  const jeu = (jeu_id, more) => ({ jeu_id, title: "", phase: "open", epoch: 0, ...more });
  const programme = [jeu(1, { phase: "final", closed_at_us: 60_000_000 }), jeu(2, { phase: "final", closed_at_us: 95_000_000 }), jeu(3, { closes_at_us: 101_000_000 }), jeu(4)];
  assert.equal(latestClosing({ programme }, clock)?.jeu_id, 3);
  assert.equal(latestClosing({ programme: programme.slice(0, 2) }, clock)?.jeu_id, 2);
  assert.equal(latestClosing({ programme: [programme[0], programme[3]] }, clock), null);
});

test("a change of the programme is made anew over somebody else's, and nothing is lost", async () => {
  let order = [1, 2, 3, 4];
  const live = (ids) => ({ live_id: "x", programme: ids.map((jeu_id) => ({ jeu_id })) });
  const api = {
    get: async () => live(order),
    patch: async (_, { jeux, jeux_before }) => {
      if (jeux_before.join() !== order.join()) throw new ApiError(409, { code: "programme_changed" });
      order = jeux;
      return live(order);
    },
  };
  const known = live([1, 2, 3]);
  await changeProgramme(api, known, (ids) => moved(ids, 3, 1));
  assert.deepEqual(order, [3, 1, 2, 4]);
  assert.deepEqual(moved([1, 2, 3], 1, 9), [2, 3, 1], "the one to go in front of is gone");
});

test("clocks and addresses read well", () => {
  assert.equal(hoursMinutesSeconds(2_530_000), "00:42:10");
  assert.equal(minutesSeconds(899_001), "15:00");
  assert.equal(slugOf("Max joue à l’été !"), "max-joue-a-l-ete");
  assert.equal(slugOf("管理"), "");
});

test("whoever's session ended elsewhere is told so, however many calls were refused", () => {
  const admin = new Admin("", "", "", () => {});
  admin.session = { name: "max", role: "admin", csrf: "" };
  admin.signedOut();
  admin.signedOut();
  assert.equal(admin.wasCutOff, true);
});
