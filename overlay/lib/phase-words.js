// @ts-check
/** One line that says where a jeu stands, the same on every page. */
/** @import { ProgrammeEntry, LiveState } from "./types.js" */

/**
 * @typedef {'pending'|'open'|'closing'|'finalising'|'final'} Moment What people are told: an open jeu with an announced
 *   end is closing; one that takes no more notes and has no result yet is finalising.
 */

/**
 * @param {ProgrammeEntry} entry
 * @param {number} msLeft until the announced end
 * @returns {Moment}
 */
export function momentOf(entry, msLeft) {
  if (entry.phase === "closing") return "finalising";
  if (entry.phase === "open" && entry.closes_at_us !== undefined) return msLeft > 0 ? "closing" : "finalising";
  return entry.phase;
}

const WORDS = {
  pending: "phase.pending",
  open: "phase.open",
  closing: "phase.closing",
  finalising: "phase.finalising",
  final: "phase.final",
};

/**
 * @param {Moment} moment
 * @param {number} msLeft
 * @param {import("./i18n.js").Texts} t
 * @param {import("./format.js").Format} format
 */
export function momentWords(moment, msLeft, t, format) {
  return t(WORDS[moment], { s: format.seconds(msLeft) });
}

/**
 * The jeu that "next" leads to: as on the server, the first after the current one that takes notes or can be opened.
 *
 * @param {Pick<LiveState, 'programme'|'current'>} live
 */
export function nextEntry({ programme, current }) {
  const index = programme.findIndex((entry) => entry.jeu_id === current);
  return programme.slice(index + 1).find(({ phase }) => phase === "pending" || phase === "open") ?? null;
}

/**
 * Place of a jeu in its programme: "Jeu 2 sur 5".
 *
 * @param {LiveState} live
 * @param {number} jeuId
 * @param {import("./i18n.js").Texts} t
 */
export function placeWords(live, jeuId, t) {
  const place = live.programme.findIndex((entry) => entry.jeu_id === jeuId) + 1;
  return t("phase.place", { place, count: live.programme.length });
}
