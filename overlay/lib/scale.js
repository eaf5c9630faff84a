// @ts-check
/** Arithmetic of criteres: their steps, columns and means. Display rounding is format.js's. */
/** @import { Critere, Bareme, Scale, Scores } from "./types.js" */

/** More columns than this are too thin to read; they become bins. */
const MOST_COLUMNS = 21;
const BINS = 20;
/** More scores than this do not fit a row of buttons; they become a slider. */
const MOST_BUTTONS = 11;

/** @param {Critere} critere */
export function stepCount(critere) {
  return Math.round((critere.max - critere.min) / critere.step);
}

/** @param {Critere} critere */
export function usesSlider(critere) {
  return stepCount(critere) + 1 > MOST_BUTTONS;
}

/**
 * Every score of a critere, free of binary noise.
 *
 * @param {Critere} critere
 */
export function scoresOf(critere) {
  return Array.from({ length: stepCount(critere) + 1 }, (_, k) => tidy(critere.min + critere.step * k));
}

/**
 * Heights of the columns, 0 to 1, and which one is nearest to the mean.
 *
 * @param {Critere} critere
 * @param {number[]} histogram
 * @param {number|null} mean
 */
export function columnsOf(critere, histogram, mean) {
  const scores = stepCount(critere) + 1;
  const count = scores > MOST_COLUMNS ? BINS : scores;
  const sums = new Array(count).fill(0);
  histogram.forEach((votes, k) => (sums[columnOf(k, scores, count)] += votes));
  const most = Math.max(1, ...sums);
  const at = mean === null ? null : (mean - critere.min) / critere.step;
  return {
    heights: sums.map((votes) => votes / most),
    nearest: at === null ? -1 : columnOf(Math.round(at), scores, count),
    /** Where the mean lies along the whole width, 0 to 1. */
    pin: at === null ? null : (at + 0.5) / scores,
  };
}

/** Number of columns a critere is drawn with. @param {Critere} critere */
export function columnCount(critere) {
  const scores = stepCount(critere) + 1;
  return scores > MOST_COLUMNS ? BINS : scores;
}

/**
 * @param {number} k
 * @param {number} scores
 * @param {number} columns
 */
function columnOf(k, scores, columns) {
  return Math.min(columns - 1, Math.max(0, Math.floor((k * columns) / scores)));
}

/**
 * A note's own weighted mean on the scale of the live; null when nothing is rated.
 *
 * @param {Bareme} bareme
 * @param {Scale} scale
 * @param {Scores} scores
 */
export function meanOfNote(bareme, scale, scores) {
  let [weighted, weights] = [0, 0];
  for (const critere of bareme.criteres) {
    const score = scores[critere.key];
    if (score === undefined || score === null) continue;
    weighted += (critere.weight * (score - critere.min)) / (critere.max - critere.min);
    weights += critere.weight;
  }
  return weights > 0 ? tidy(scale.min + ((scale.max - scale.min) * weighted) / weights) : null;
}

/**
 * Criteres that must be rated and are not.
 *
 * @param {Bareme} bareme
 * @param {Scores} scores
 */
export function missingCriteres(bareme, scores) {
  return bareme.criteres.filter((critere) => !critere.optional && typeof scores[critere.key] !== "number");
}

/** Removes what binary fractions add, nothing anybody could have meant. @param {number} value */
export function tidy(value) {
  return Math.round(value * 1e6) / 1e6;
}
