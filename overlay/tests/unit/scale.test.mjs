import assert from "node:assert/strict";
import { test } from "node:test";
import { columnsOf, meanOfNote, missingCriteres, scoresOf, usesSlider } from "../../lib/scale.js";

const none = { fr: "", en: "" };
const critere = (over = {}) => ({ key: "fun", labels: none, min: 1, max: 5, step: 1, weight: 1, low: none, high: none, optional: true, ...over });

test("scores are exact on halves and tenths", () => {
  assert.deepEqual(scoresOf(critere({ min: 0, max: 2, step: 0.5 })), [0, 0.5, 1, 1.5, 2]);
  assert.deepEqual(scoresOf(critere({ min: 0, max: 0.3, step: 0.1 })), [0, 0.1, 0.2, 0.3]);
});

test("eleven scores are buttons, twelve a slider", () => {
  assert.equal(usesSlider(critere({ min: 0, max: 10 })), false);
  assert.equal(usesSlider(critere({ min: 0, max: 11 })), true);
});

test("columns are as high as their share of the highest, and the pin stands at the mean", () => {
  const { heights, nearest, pin } = columnsOf(critere(), [0, 1, 0, 2, 1], 3.75);
  assert.deepEqual(heights, [0, 0.5, 0, 1, 0.5]);
  assert.equal(nearest, 3);
  assert.equal(pin, (2.75 + 0.5) / 5);
  assert.equal(columnsOf(critere(), [], null).nearest, -1);
});

test("more than 21 columns become 20 bins that lose nothing", () => {
  const hundred = critere({ min: 0, max: 100 });
  const { heights, nearest } = columnsOf(hundred, new Array(101).fill(1), 100);
  assert.equal(heights.length, 20);
  assert.equal(nearest, 19);
  assert.equal(columnsOf(critere({ min: 0, max: 20 }), new Array(21).fill(0), 20).heights.length, 21);
});

test("a note's mean weighs its criteres on the scale of the live, without those left out", () => {
  const bareme = { name: "b", criteres: [critere(), critere({ key: "graph", min: 0, max: 10, weight: 3 })] };
  assert.equal(meanOfNote(bareme, { min: 0, max: 10 }, { fun: 5, graph: 5 }), 6.25);
  assert.equal(meanOfNote(bareme, { min: 0, max: 10 }, { graph: 5 }), 5);
  assert.equal(meanOfNote(bareme, { min: 0, max: 10 }, {}), null);
});

test("what must be rated and is not is named", () => {
  const bareme = { name: "b", criteres: [critere({ optional: false }), critere({ key: "graph" })] };
  assert.deepEqual(missingCriteres(bareme, { graph: 2 }).map(({ key }) => key), ["fun"]);
});
