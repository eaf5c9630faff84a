// @ts-check
/** The jeux of a live, best first. */
/** @import { LiveState, ProgrammeEntry, TallyFrame } from "./types.js" */

/** @typedef {{entry: ProgrammeEntry, mean: number, voters: number, place: number}} Ranked */

/**
 * Jeux with a final mean. Equal means share a place; among them the one with more votes stands first.
 *
 * @param {LiveState} live
 * @param {(jeuId: number) => TallyFrame|null} tallyOf
 * @returns {Ranked[]}
 */
export function rankingOf(live, tallyOf) {
  /** @type {Ranked[]} */
  const ranked = [];
  for (const entry of live.programme) {
    const tally = entry.phase === "final" ? tallyOf(entry.jeu_id) : null;
    if (tally && tally.mean !== null) ranked.push({ entry, mean: tally.mean, voters: tally.voters, place: 0 });
  }
  ranked.sort((a, b) => b.mean - a.mean || b.voters - a.voters);
  ranked.forEach((row, index) => {
    const before = ranked[index - 1];
    row.place = before && before.mean === row.mean ? before.place : index + 1;
  });
  return ranked;
}
