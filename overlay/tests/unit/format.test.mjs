import assert from "node:assert/strict";
import { test } from "node:test";
import { createFormat } from "../../lib/format.js";

const fr = createFormat("fr");
const en = createFormat("en");
const five = { min: 1, max: 5 };

test("french numbers have a decimal comma and a narrow no-break space", () => {
  assert.equal(fr.mean(4.2, five), "4,2");
  assert.equal(fr.count(1248), "1\u202f248");
  assert.equal(fr.score(3.5), "3,5");
});

test("english numbers have a point and a comma", () => {
  assert.equal(en.mean(4.2, five), "4.2");
  assert.equal(en.count(1248), "1,248");
  assert.equal(en.score(4), "4");
});

test("a mean keeps its decimal, and rounds halves away from zero", () => {
  assert.equal(en.mean(4, five), "4.0");
  assert.equal(en.mean(4.25, five), "4.3");
  assert.equal(en.mean(4.35, five), "4.4");
  assert.equal(en.mean(72.4, { min: 0, max: 100 }), "72");
});

test("no number is a dash, not zero", () => {
  assert.equal(en.mean(null, five), "–");
  assert.equal(en.mean(undefined, five), "–");
});

test("a countdown never says zero before the end", () => {
  assert.equal(en.seconds(20), "1");
  assert.equal(en.seconds(8000), "8");
  assert.equal(en.seconds(0), "0");
});
