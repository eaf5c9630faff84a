// @ts-check
/**
 * What the overlay shows, decided from what is known and the time. No DOM: the page asks at each change, and again
 * after `againInMs`.
 */
/** @import { LiveState, ProgrammeEntry, TallyFrame } from "./types.js" */
/** @import { Moment } from "./phase-words.js" */
/** @import { Ranked } from "./ranking.js" */
import { momentOf } from "./phase-words.js";
import { rankingOf } from "./ranking.js";

/** How long the last result stays before the ranking takes its place. */
export const REVEAL_MS = 6_000;
/** How long the ranking stays after its live was closed. */
export const RANKING_MS = 180_000;
/** How long the ranking so far stays after a result, while the live goes on. */
export const STANDING_MS = 9_000;

/**
 * @typedef {{kind: 'jeu', live: LiveState, entry: ProgrammeEntry, tally: TallyFrame|null, moment: Moment,
 *   msLeft: number, place: number|null, placed: number}} JeuScene `place` among the `placed` results so far
 * @typedef {{kind: 'ranking', live: LiveState, rows: Ranked[], arrived: number|null}} RankingScene `arrived`: the jeu whose
 *   result was just made, while the live goes on
 * @typedef {{kind: 'none', live: LiveState|null}} NoScene
 * @typedef {JeuScene|RankingScene|NoScene} Scene
 */

export class Director {
  /** @type {string|null} live this page saw open */
  #seenOpen = null;
  /** When this page saw that live closed, milliseconds of the server's clock; 0 before. */
  #closedMs = 0;
  /** @type {{of: string, tally: TallyFrame|null}} what was shown before the counting */
  #held = { of: "", tally: null };
  /** What this page saw without a result, and when it saw the result of it; 0 before. */
  #awaited = { of: "", madeMs: 0 };

  /** @param {{withStandings?: boolean}} [options] `withStandings`: whether each result is followed by the ranking so far */
  constructor({ withStandings = true } = {}) {
    this.withStandings = withStandings;
  }

  /**
   * @param {import("./snapshot.js").Snapshot} snapshot
   * @param {import("./clock.js").ServerClock} clock
   * @returns {{scene: Scene, againInMs: number|null}}
   */
  direct(snapshot, clock) {
    const { live } = snapshot;
    const nowMs = clock.nowUs() / 1000;
    const entry = snapshot.entry(live?.current);
    if (live?.status === "open") {
      this.#seenOpen = live.live_id;
      this.#closedMs = 0;
      return entry ? this.#onAir(snapshot, live, entry, clock) : { scene: { kind: "none", live }, againInMs: null };
    }
    const goneMs = live?.status === "closed" ? this.#endOf(live, nowMs) : null;
    if (!live || goneMs === null || nowMs >= goneMs) return { scene: { kind: "none", live: null }, againInMs: null };
    const rows = rankingOf(live, (jeu) => snapshot.tally(jeu));
    // The last result is made after the live was closed, and gets its time.
    if (entry && entry.phase !== "final" && entry.phase !== "pending") {
      this.#closedMs = nowMs;
      return { scene: this.#jeu(snapshot, live, entry, clock), againInMs: null };
    }
    const revealedMs = this.#closedMs + REVEAL_MS;
    const seen = live.live_id === this.#seenOpen && nowMs < revealedMs;
    if (entry?.phase === "final" && (rows.length < 2 || seen)) {
      return { scene: this.#jeu(snapshot, live, entry, clock), againInMs: (seen ? revealedMs : goneMs) - nowMs };
    }
    if (rows.length === 0) return { scene: { kind: "none", live: null }, againInMs: null };
    return { scene: { kind: "ranking", live, rows, arrived: null }, againInMs: goneMs - nowMs };
  }

  /**
   * The current jeu; and once this page saw its result being made, its place among the others for a while.
   *
   * @param {import("./snapshot.js").Snapshot} snapshot
   * @param {LiveState} live
   * @param {ProgrammeEntry} entry
   * @param {import("./clock.js").ServerClock} clock
   * @returns {{scene: Scene, againInMs: number|null}}
   */
  #onAir(snapshot, live, entry, clock) {
    const scene = this.#jeu(snapshot, live, entry, clock);
    const { of } = this.#held;
    if (scene.moment !== "final") this.#awaited = { of, madeMs: 0 };
    const isNews = scene.moment === "final" && this.#awaited.of === of && scene.place !== null && scene.placed > 1;
    if (!this.withStandings || !isNews) return { scene, againInMs: null };
    const nowMs = clock.nowUs() / 1000;
    if (this.#awaited.madeMs === 0) this.#awaited.madeMs = nowMs;
    const beginsMs = this.#awaited.madeMs + REVEAL_MS;
    const endsMs = beginsMs + STANDING_MS;
    if (nowMs < beginsMs) return { scene, againInMs: beginsMs - nowMs };
    if (nowMs >= endsMs) return { scene, againInMs: null };
    const rows = rankingOf(live, (jeu) => snapshot.tally(jeu));
    return { scene: { kind: "ranking", live, rows, arrived: entry.jeu_id }, againInMs: endsMs - nowMs };
  }

  /**
   * When a closed live leaves the screen; null for one whose end nobody can tell.
   *
   * @param {LiveState} live
   * @param {number} nowMs
   */
  #endOf(live, nowMs) {
    const seen = live.live_id === this.#seenOpen;
    if (seen && this.#closedMs === 0) this.#closedMs = nowMs;
    if (live.closed_at_us !== undefined) return Math.max(live.closed_at_us / 1000, this.#closedMs) + RANKING_MS;
    return seen ? this.#closedMs + RANKING_MS : null;
  }

  /**
   * @param {import("./snapshot.js").Snapshot} snapshot
   * @param {LiveState} live
   * @param {ProgrammeEntry} entry
   * @param {import("./clock.js").ServerClock} clock
   * @returns {JeuScene}
   */
  #jeu(snapshot, live, entry, clock) {
    const msLeft = entry.closes_at_us === undefined ? 0 : clock.msUntil(entry.closes_at_us);
    const moment = momentOf(entry, msLeft);
    const of = `${live.live_id}/${entry.jeu_id}/${entry.epoch}`;
    // While the result is made everything holds still: what the last votes change shows with the result.
    const held = moment === "finalising" && this.#held.of === of;
    const tally = held ? this.#held.tally : snapshot.tally(entry.jeu_id);
    this.#held = { of, tally };
    const rows = moment === "final" ? rankingOf(live, (jeu) => snapshot.tally(jeu)) : [];
    const place = rows.find((row) => row.entry.jeu_id === entry.jeu_id)?.place ?? null;
    return { kind: "jeu", live, entry, tally, moment, msLeft, place, placed: rows.length };
  }
}

/** What a scene is about: another subject is another panel. @param {Scene} scene */
export function subjectOf(scene) {
  if (scene.kind === "none") return null;
  return `${scene.live.live_id}/${scene.kind === "jeu" ? scene.entry.jeu_id : "ranking"}`;
}

/** Whether notes are being taken on what is shown. @param {Scene} scene */
export function takesNotes(scene) {
  return scene.kind === "jeu" && (scene.moment === "open" || scene.moment === "closing");
}
