import assert from "node:assert/strict";
import { test } from "node:test";
import { ServerClock } from "../../lib/clock.js";
import { Wishes } from "../../lib/wishes.js";

function memory() {
  const map = new Map();
  return {
    get length() {
      return map.size;
    },
    key: (index) => [...map.keys()][index] ?? null,
    getItem: (key) => map.get(key) ?? null,
    setItem: (key, value) => map.set(key, String(value)),
    removeItem: (key) => map.delete(key),
  };
}
const clock = () => new ServerClock(() => 1_763_640_000_000);
const reply = (wish, status, more = {}) => ({ live: wish.live, jeu: wish.jeu, v: wish.v, status, ...more });

test("there is one wanted note per jeu, and it survives the page", () => {
  const storage = memory();
  const wishes = new Wishes(storage, clock());
  const first = wishes.want("l", 1, { fun: 3 }, 0);
  const second = wishes.want("l", 1, { fun: 4 }, 0);
  assert.equal(second.v, first.v + 1);
  const again = new Wishes(storage, clock());
  assert.deepEqual(again.all(), [second]);
});

test("an answer to an older version settles nothing", () => {
  const wishes = new Wishes(memory(), clock());
  const first = wishes.want("l", 1, { fun: 3 }, 0);
  const second = wishes.want("l", 1, { fun: 4 }, 0);
  assert.deepEqual(wishes.settle(reply(first, "ok")), { done: false });
  const settled = wishes.settle(reply(second, "ok"));
  assert.deepEqual(settled.mine, { live: "l", jeu: 1, v: second.v, scores: { fun: 4 } });
  assert.equal(wishes.all().length, 0);
});

test("unknown, retry_after and too_fast ask for the same version again", () => {
  for (const status of ["unknown", "retry_after", "too_fast"]) {
    const wishes = new Wishes(memory(), clock());
    const wish = wishes.want("l", 1, { fun: 3 }, 0);
    const settled = wishes.settle(reply(wish, status, { retry_after_ms: 70 }));
    assert.deepEqual(settled, { done: false, again: wish });
    assert.equal(wishes.all().length, 1);
  }
});

test("a final refusal ends the wish and says why", () => {
  const wishes = new Wishes(memory(), clock());
  const wish = wishes.want("l", 1, { fun: 3 }, 0);
  assert.equal(wishes.settle(reply(wish, "closed")).done, true);
  assert.equal(wishes.refusal("l", 1)?.status, "closed");
  wishes.want("l", 1, { fun: 4 }, 0);
  assert.equal(wishes.refusal("l", 1), null, "a new choice forgets the old refusal");
});

test("stale brings the newer note, and the next choice is newer still", () => {
  const wishes = new Wishes(memory(), clock());
  const wish = wishes.want("l", 1, { fun: 3 }, 0);
  const held = { v: wish.v + 1_000_000, scores: { fun: 1 } };
  const { mine } = wishes.settle(reply(wish, "stale", { held }));
  assert.deepEqual(mine?.scores, { fun: 1 });
  assert.equal(wishes.want("l", 1, { fun: 5 }, held.v).v, held.v + 1);
});

test("a wrong clock is set right once, and the note sent again", () => {
  const wishes = new Wishes(memory(), clock());
  const wish = wishes.want("l", 1, { fun: 3 }, 0);
  const now_us = 1_700_000_000_000_000;
  const problem = { field: "v", rule: "version_ahead", params: { max_s: 60 }, reason: "is too far ahead", remedy: "use now_us" };
  const { again } = wishes.settle(reply(wish, "invalid", { problem, now_us }));
  assert.equal(again?.v, now_us);
  assert.equal(wishes.all().length, 1);
});

test("a note that was stored while a clock was wrong gives the version after it", () => {
  const wishes = new Wishes(memory(), clock());
  const wish = wishes.want("l", 1, { fun: 3 }, 0);
  const [now_us, next_v] = [1_763_640_000_000_000, 1_763_643_600_000_001];
  const problem = { field: "v", rule: "version_ahead", params: { max_s: 60, next_v }, reason: "is too far ahead", remedy: "use next_v" };
  const { again } = wishes.settle(reply(wish, "invalid", { problem, now_us }));
  assert.equal(again?.v, next_v);
  assert.equal(wishes.get("l", 1)?.v, next_v);
});

test("a note that turns out to be held was not refused", () => {
  const wishes = new Wishes(memory(), clock());
  const wish = wishes.want("l", 1, { fun: 3 }, 0);
  wishes.settle(reply(wish, "closed"));
  wishes.adopt({ live: "l", jeu: 1, v: wish.v - 1, scores: { fun: 2 } });
  assert.equal(wishes.refusal("l", 1)?.status, "closed", "an older one says nothing of this one");
  wishes.adopt({ live: "l", jeu: 1, v: wish.v, scores: { fun: 3 } });
  assert.equal(wishes.refusal("l", 1), null);
});

test("an answer in one tab leaves the newer choice of another tab where it is kept", () => {
  const storage = memory();
  const [one, other] = [new Wishes(storage, clock()), new Wishes(storage, clock())];
  const older = one.want("l", 1, { fun: 3 }, 0);
  const newer = other.want("l", 1, { fun: 4 }, older.v);
  one.settle(reply(older, "ok"));
  assert.deepEqual(new Wishes(storage, clock()).all(), [newer]);
});

test("what the server holds is wanted until its answer says that it is durable; what is older is not wanted any more", () => {
  const wishes = new Wishes(memory(), clock());
  const wish = wishes.want("l", 1, { fun: 3 }, 0);
  wishes.adopt({ live: "l", jeu: 1, v: wish.v - 1, scores: {} });
  assert.equal(wishes.all().length, 1);
  wishes.adopt({ live: "l", jeu: 1, v: wish.v, scores: { fun: 3 } });
  assert.equal(wishes.all().length, 1);
  wishes.adopt({ live: "l", jeu: 1, v: wish.v + 1, scores: { fun: 5 } });
  assert.equal(wishes.all().length, 0);
});

test("a storage full of nonsense or of old notes does no harm", () => {
  const storage = memory();
  storage.setItem("bareme.note/l/1", "{");
  storage.setItem("bareme.note/l/2", JSON.stringify({ live: "l", jeu: 2, v: 12, scores: {} }));
  storage.setItem("other", "x");
  assert.equal(new Wishes(storage, clock()).all().length, 0);
  assert.equal(storage.length, 1);
});
