// @ts-check
/** The jeux of a live as rows: in order of the programme while it is on air, best first once it is over. */
/** @import { LiveState, ProgrammeEntry, TallyFrame, Scores } from "./types.js" */
/** @import { StripRow } from "../components/jeu-strip/jeu-strip.js" */
import { momentOf, momentWords } from "./phase-words.js";
import { rankingOf } from "./ranking.js";
import { meanOfNote } from "./scale.js";
import { votesWords } from "./tally-words.js";

/**
 * @typedef {object} Programme
 * @property {LiveState} live
 * @property {(jeuId: number) => TallyFrame|null} tallyOf
 * @property {(jeuId: number) => Scores} scoresOf my own
 * @property {Pick<import("./clock.js").ServerClock, 'msUntil'>} clock
 * @property {ProgrammeEntry|null} shown
 * @property {import("./i18n.js").Texts} t
 * @property {import("./format.js").Format} format
 */

/**
 * @param {Programme} programme
 * @returns {StripRow[]}
 */
export function stripRows(programme) {
  const { live, tallyOf } = programme;
  if (live.status !== "closed") return live.programme.map((entry, index) => row(programme, entry, String(index + 1)));
  const ranking = rankingOf(live, tallyOf);
  const unranked = live.programme.filter(({ jeu_id }) => !ranking.some(({ entry }) => entry.jeu_id === jeu_id));
  return [
    ...ranking.map(({ entry, place }) => row(programme, entry, String(place))),
    ...unranked.map((entry) => row(programme, entry, "")),
  ];
}

/**
 * @param {Programme} programme
 * @param {ProgrammeEntry} entry
 * @param {string} place
 * @returns {StripRow}
 */
function row({ live, tallyOf, scoresOf, clock, shown, t, format }, entry, place) {
  const { min, max } = live.scale;
  const isOver = live.status === "closed";
  const tally = tallyOf(entry.jeu_id);
  const mean = isOver && entry.phase !== "final" ? null : tally?.mean ?? null;
  const mine = meanOfNote(live.bareme, live.scale, scoresOf(entry.jeu_id));
  const moment = momentOf(entry, entry.closes_at_us === undefined ? 0 : clock.msUntil(entry.closes_at_us));
  return {
    jeu_id: entry.jeu_id,
    place,
    title: entry.title,
    phase: entry.phase,
    words: wordsOf(),
    mine: mine === null ? "" : t("viewer.my_note", { mean: format.mean(mine, live.scale) }),
    mean: format.mean(mean, live.scale),
    share: mean === null || !isOver ? null : (mean - min) / (max - min),
    current: live.current === entry.jeu_id && !isOver,
    chosen: entry.jeu_id === shown?.jeu_id,
    reachable: entry.phase !== "pending",
  };

  function wordsOf() {
    if (isOver && moment === "final") return votesWords(tally, live, t, format);
    if (isOver && moment === "pending") return t("viewer.not_played");
    if (moment === "open") return t("phase.short_open");
    if (moment === "closing") return t("phase.short_closing");
    return momentWords(moment, 0, t, format);
  }
}
