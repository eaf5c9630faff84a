// @ts-check
/**
 * When to connect again, and whether to at all. Pure decisions; connection.js carries them out.
 */

const BASE_MS = 150;
/** While a server restarts, pages must be right again within two seconds of its start. */
const QUICK_CAP_MS = 1_500;
/** A longer outage: a hundred thousand pages must not hammer what is coming back. */
const PATIENT_CAP_MS = 10_000;
/** How long a page of the audience stays quick. */
export const VIEWER_QUICK_FOR_MS = 20_000;
/** Overlays and admin pages are few: they stay quick through any outage a stream survives. */
export const STAGE_QUICK_FOR_MS = 600_000;

/**
 * Full jitter: anywhere between nothing and a cap that doubles.
 *
 * @param {number} attempt 0 for the first try after a loss
 * @param {number} outageMs since the first loss
 * @param {number} quickForMs
 * @param {() => number} random
 */
export function retryDelayMs(attempt, outageMs, quickForMs, random) {
  const most = outageMs < quickForMs ? QUICK_CAP_MS : PATIENT_CAP_MS;
  return random() * Math.min(most, BASE_MS * 2 ** Math.min(attempt, 16));
}

/** @typedef {'retry'|'refused'|'gone'} Verdict */

/**
 * Close codes that are final. Every other one, including 1006 (no close frame), means: connect again.
 *
 * @type {Record<number, Verdict>}
 */
const FINAL_CODES = { 1003: "refused", 1007: "refused", 1009: "refused", 4003: "refused", 4004: "gone" };

/**
 * @param {number} code
 * @returns {Verdict}
 */
export function verdictOnClose(code) {
  return FINAL_CODES[code] ?? "retry";
}
