// @ts-check
/** The one place where numbers become text, and the only one that rounds them. */
/** @import { Scale, Critere } from "./types.js" */

/** @typedef {ReturnType<typeof createFormat>} Format */

/** What stands for a number that is not there. */
export const NO_NUMBER = "–";

/** @param {string} lang */
export function createFormat(lang) {
  const locale = lang === "fr" ? "fr-FR" : "en-GB";
  const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
  const tenth = new Intl.NumberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const exact = new Intl.NumberFormat(locale, { maximumFractionDigits: 3 });
  const date = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
  const day = new Intl.DateTimeFormat(locale, { dateStyle: "medium" });
  const time = new Intl.DateTimeFormat(locale, { timeStyle: "medium" });
  return {
    /**
     * A mean: one decimal, or none on scales as wide as a percentage.
     *
     * @param {number|null|undefined} mean
     * @param {Scale|Critere} scale
     */
    mean(mean, scale) {
      if (mean === null || mean === undefined) return NO_NUMBER;
      return (scale.max - scale.min >= 100 ? whole : tenth).format(mean);
    },
    /** A score somebody chose, exactly. @param {number} score */
    score: (score) => exact.format(score),
    /** @param {number} count */
    count: (count) => whole.format(count),
    /** Votes per second: a decimal only while it says something. @param {number} rate */
    rate: (rate) => (rate > 0 && rate < 10 ? tenth : whole).format(rate),
    /** Whole seconds still to go, never 0 before the end. @param {number} ms */
    seconds: (ms) => whole.format(Math.ceil(ms / 1000)),
    /** @param {number} us microseconds since 1970 */
    date: (us) => date.format(us / 1000),
    /** @param {number} us microseconds since 1970 */
    day: (us) => day.format(us / 1000),
    /** Time of the day. @param {number} ms milliseconds since 1970 */
    time: (ms) => time.format(ms),
  };
}
