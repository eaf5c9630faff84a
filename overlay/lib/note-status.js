// @ts-check
/** What to tell a viewer about a note. Pure: the page only shows it. */
/** @import { Wish, Mine, Refusal, Link, Problem } from "./types.js" */
/** @import { NoteStatus } from "../components/note-bar/note-bar.js" */

/**
 * "Enregistré" is a promise of the server, so it is said only of a note the server has confirmed.
 *
 * @param {{wish: Wish|null, mine: Mine|null, refusal: Refusal|null, link: Link, missing: number, takesNotes: boolean}} facts
 * @returns {NoteStatus}
 */
export function noteStatus({ wish, mine, refusal, link, missing, takesNotes }) {
  if (wish) return link === "live" || link === "polling" ? "sending" : "kept";
  if (refusal) return "refused";
  if (missing > 0 && takesNotes) return "incomplete";
  if (mine && Object.keys(mine.scores).length > 0) return "saved";
  if (!takesNotes) return "final";
  return mine && mine.v > 0 ? "withdrawn" : "none";
}

const STATUS_WORDS = {
  none: "note.none",
  incomplete: "note.incomplete",
  sending: "note.sending",
  kept: "note.kept",
  saved: "note.saved",
  withdrawn: "note.withdrawn",
  final: "note.final",
};

const REFUSAL_WORDS = {
  ok: "note.saved",
  unknown: "note.sending",
  retry_after: "note.sending",
  too_fast: "note.sending",
  stale: "refusal.stale",
  closed: "refusal.closed",
  not_open: "refusal.not_open",
  invalid: "refusal.invalid",
};

/**
 * @param {NoteStatus} status
 * @param {Refusal|null} refusal
 * @param {number} missing criteres that must still be rated
 * @param {import("./i18n.js").Texts} t
 */
export function noteWords(status, refusal, missing, t) {
  if (status === "refused" && refusal) {
    const words = t(REFUSAL_WORDS[refusal.status]);
    return refusal.status === "invalid" ? `${words} ${problemWords(refusal.problem)}`.trim() : words;
  }
  if (status === "incomplete") return t.n("note.incomplete", missing);
  return t(STATUS_WORDS[status === "refused" ? "none" : status]);
}

/** @param {Problem|undefined} problem */
function problemWords(problem) {
  return problem ? `(${problem.field}: ${problem.reason}; ${problem.remedy})` : "";
}
