// @ts-check
/** How the numbers of a jeu are said while they may be hidden. */
/** @import { TallyFrame, LiveState } from "./types.js" */

/**
 * "1 248 votes", or "3 / 10 votes" below the minimum.
 *
 * @param {TallyFrame|null} tally
 * @param {LiveState} live
 * @param {import("./i18n.js").Texts} t
 * @param {import("./format.js").Format} format
 */
export function votesWords(tally, live, t, format) {
  const voters = tally?.voters ?? 0;
  if (tally?.masked === "minimum") {
    return t("votes.minimum", { n: format.count(voters), k: format.count(live.minimum_votes) });
  }
  return t.n("votes.count", voters, { n: format.count(voters) });
}
