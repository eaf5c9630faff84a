// @ts-check
/** What to tell a viewer about a note. Pure: the page only shows it. */
/** @import { Wish, Mine, Refusal, Link, Bareme } from "./types.js" */
/** @import { NoteStatus } from "../components/note-bar/note-bar.js" */

/**
 * "Enregistré" is a promise of the server, so it is said only of a note the server has confirmed.
 *
 * @param {{wish: Wish|null, mine: Mine|null, refusal: Refusal|null, link: Link, missing: number, takesNotes: boolean}} facts
 * @returns {NoteStatus}
 */
export function noteStatus({ wish, mine, refusal, link, missing, takesNotes }) {
  const away = link !== "live" && link !== "polling";
  if (wish) return away ? "kept" : "sending";
  if (refusal) return "refused";
  if (missing > 0 && takesNotes) return "incomplete";
  if (mine && Object.keys(mine.scores).length > 0) return "saved";
  if (!takesNotes) return "final";
  if (link === "lost") return "offline";
  return mine && mine.v > 0 ? "withdrawn" : "none";
}

const STATUS_WORDS = {
  none: "note.none",
  offline: "note.offline",
  sending: "note.sending",
  kept: "note.kept",
  saved: "note.saved",
  withdrawn: "note.withdrawn",
  final: "note.final",
};

/**
 * @param {NoteStatus} status
 * @param {Refusal|null} refusal
 * @param {number} missing criteres that must still be rated
 * @param {Bareme} bareme
 * @param {import("./i18n.js").Texts} t
 */
export function noteWords(status, refusal, missing, bareme, t) {
  if (status === "refused") return refusalWords(refusal, bareme, t);
  if (status === "incomplete") return t.n("note.incomplete", missing);
  return t(STATUS_WORDS[status]);
}

/**
 * What a refusal means, and what to do. The server's own words are for programmers, and in English.
 *
 * @param {Refusal|null} refusal
 * @param {Bareme} bareme
 * @param {import("./i18n.js").Texts} t
 */
function refusalWords(refusal, bareme, t) {
  if (refusal?.status === "stale") return t("refusal.stale");
  if (refusal?.status === "closed") return t("refusal.closed");
  if (refusal?.status === "not_open") return t("refusal.not_open");
  const { field, rule = "" } = refusal?.problem ?? {};
  if (["wrong_live", "not_in_programme", "channel_gone"].includes(rule)) return t("refusal.other_live");
  const critere = bareme.criteres.find(({ key }) => key === field);
  if (!critere) return t("refusal.invalid");
  const label = t.own(critere.labels);
  return rule === "required" ? t("refusal.missing", { critere: label }) : t("refusal.score", { critere: label });
}
