// @ts-check
/** What can still be taken back: a closing, announced or done, and the end of a live. */
/** @import { LiveState, ProgrammeEntry } from "./types.js" */

/** The server takes back what ended no longer ago. */
export const UNDO_MS = 30_000;

/** @typedef {import("./clock.js").ServerClock} ServerClock */

/**
 * Milliseconds in which something that ended at `closedAtUs` can be taken back; 0: not any more.
 *
 * @param {number|undefined} closedAtUs
 * @param {ServerClock|undefined} clock
 */
export function undoLeftMs(closedAtUs, clock) {
  return closedAtUs === undefined || !clock ? 0 : Math.min(UNDO_MS, clock.msUntil(closedAtUs + UNDO_MS * 1000));
}

/**
 * The closing that was asked for or done last, among those that can be taken back: the one a single key undoes.
 *
 * @param {LiveState} live
 * @param {ServerClock|undefined} clock
 * @returns {ProgrammeEntry|null}
 */
export function latestClosing(live, clock) {
  const undoable = live.programme.filter((entry) => entry.closes_at_us !== undefined || undoLeftMs(entry.closed_at_us, clock) > 0);
  const at = (/** @type {ProgrammeEntry} */ entry) => entry.closes_at_us ?? entry.closed_at_us ?? 0;
  return undoable.reduce((/** @type {ProgrammeEntry|null} */ latest, entry) => (latest && at(latest) >= at(entry) ? latest : entry), null);
}
