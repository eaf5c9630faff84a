// @ts-check
/** What the overlay says in the place of a mean. */
/** @import { LiveState, ProgrammeEntry, TallyFrame } from "./types.js" */
import { placeWords } from "./phase-words.js";

/**
 * Why there is no mean yet, in a few words and in some more; empty when nothing is hidden.
 *
 * @param {TallyFrame|null} tally
 * @param {LiveState} live
 * @param {import("./i18n.js").Texts} t
 * @param {import("./format.js").Format} format
 */
export function maskedWords(tally, live, t, format) {
  if (tally?.masked === "blind") return { title: t("overlay.blind"), text: t("overlay.blind_why") };
  if (tally?.masked !== "minimum") return { title: "", text: "" };
  const missing = live.minimum_votes - tally.voters;
  return { title: t.n("overlay.minimum", missing, { n: format.count(missing) }), text: t("overlay.minimum_why") };
}

/**
 * What is said of a jeu before its votes open.
 *
 * @param {LiveState} live
 * @param {ProgrammeEntry} entry
 * @param {import("./i18n.js").Texts} t
 */
export function comingWords(live, entry, t) {
  return { title: placeWords(live, entry.jeu_id, t), text: t("overlay.soon") };
}
