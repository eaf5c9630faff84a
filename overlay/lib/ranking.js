// @ts-check
/** Who came first: one rule for the overlay, viewers, results and pictures. The server ranks its results page alike. */
/** @import { LiveState, ProgrammeEntry, TallyFrame } from "./types.js" */

/** @typedef {{entry: ProgrammeEntry, mean: number, voters: number, place: number}} Ranked */

/**
 * The best first. Equal means share a place; among them the one with more votes stands first.
 *
 * @template {{mean: number, voters: number}} T
 * @param {T[]} rated
 * @returns {(T & {place: number})[]}
 */
export function placed(rated) {
  const sorted = [...rated].sort((a, b) => b.mean - a.mean || b.voters - a.voters);
  return sorted.map((one) => ({ ...one, place: sorted.findIndex(({ mean }) => mean === one.mean) + 1 }));
}

/**
 * Jeux of a live with a final mean.
 *
 * @param {LiveState} live
 * @param {(jeuId: number) => TallyFrame|null} tallyOf
 * @returns {Ranked[]}
 */
export function rankingOf(live, tallyOf) {
  return placed(live.programme.flatMap((entry) => {
    const tally = entry.phase === "final" ? tallyOf(entry.jeu_id) : null;
    return tally && tally.mean !== null ? [{ entry, mean: tally.mean, voters: tally.voters }] : [];
  }));
}
