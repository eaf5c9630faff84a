import assert from "node:assert/strict";
import { test } from "node:test";
import { ServerClock } from "../../lib/clock.js";

test("a measured answer beats a greeting, and a quicker one beats a slower one", () => {
  let now = 1_000_000;
  const clock = new ServerClock(() => now);
  clock.greet((now + 500) * 1000);
  assert.equal(clock.nowUs(), (now + 500) * 1000);
  now += 100;
  // Asked 100 ms ago; in the middle of that the server's clock said 1 000 600.
  clock.measure((1_000_050 + 550) * 1000, now - 100);
  assert.equal(clock.offsetMs, 550);
  clock.measure(9_999_999 * 1000, now - 4000);
  assert.equal(clock.offsetMs, 550, "a slow answer does not undo a quick one");
  clock.measure((now + 600) * 1000, now);
  assert.equal(clock.offsetMs, 600);
});

test("an old estimate gives way", () => {
  let now = 1_000_000;
  const clock = new ServerClock(() => now);
  clock.measure(now * 1000, now);
  now += 120_000;
  clock.measure((now + 900 - 500) * 1000, now - 1000);
  assert.equal(clock.offsetMs, 900);
});

test("versions are whole, follow the server's clock, and never repeat", () => {
  const clock = new ServerClock(() => 1_763_640_000_000.4);
  const first = clock.nextVersion(0);
  assert.ok(Number.isSafeInteger(first));
  assert.equal(first, 1_763_640_000_000_400);
  assert.equal(clock.nextVersion(first), first + 1);
  assert.equal(clock.nextVersion(first + 50), first + 51);
});

test("what is over is zero milliseconds away", () => {
  const clock = new ServerClock(() => 5_000);
  assert.equal(clock.msUntil(4_000_000), 0);
  assert.equal(clock.msUntil(7_500_000), 2_500);
});
