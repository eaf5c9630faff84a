// @ts-check
/**
 * What a page knows: the newest absolute frames. Revisions are compared within one connection only, because a server
 * that starts anew counts anew.
 */
/** @import { State, TallyFrame, Mine, AdminFrame, LiveState, ProgrammeEntry, Link } from "./types.js" */

export class Snapshot {
  constructor() {
    /** @type {Link} */
    this.link = "connecting";
    /** Milliseconds since 1970 (local clock) since when `link` is what it is. */
    this.linkSince = Date.now();
    /** @type {State|null} */
    this.state = null;
    /** @type {Map<string, TallyFrame>} */
    this.tallies = new Map();
    /** @type {Map<string, Mine>} */
    this.mine = new Map();
    /** @type {AdminFrame|null} */
    this.admin = null;
    /** @type {Map<string, number>} */
    this.revs = new Map();
  }

  /** A new connection begins: old numbers stay visible, and any revision is news. */
  forgetRevs() {
    this.revs.clear();
  }

  /** @param {State} state */
  applyState(state) {
    if (!this.#isNews("state", state.rev)) return false;
    this.state = state;
    const live = state.live?.live_id;
    for (const map of [this.tallies, this.mine]) {
      for (const key of map.keys()) if (!live || !key.startsWith(live)) map.delete(key);
    }
    return true;
  }

  /** @param {TallyFrame} tally */
  applyTally(tally) {
    const key = jeuKey(tally.live, tally.jeu);
    // The same revision comes again in another form when this viewer's own note lifts the mask.
    const unmasked = this.revs.get(key) === tally.rev && this.tallies.get(key)?.masked !== tally.masked;
    if (!unmasked && !this.#isNews(key, tally.rev)) return false;
    this.tallies.set(key, tally);
    return true;
  }

  /** @param {Mine} mine */
  applyMine(mine) {
    const key = jeuKey(mine.live, mine.jeu);
    const held = this.mine.get(key);
    if (held && held.v > mine.v) return false;
    this.mine.set(key, mine);
    return true;
  }

  /**
   * @param {string} what
   * @param {number} rev
   */
  #isNews(what, rev) {
    const known = this.revs.get(what);
    if (known !== undefined && rev <= known) return false;
    this.revs.set(what, rev);
    return true;
  }

  /** @returns {LiveState|null} */
  get live() {
    return this.state?.live ?? null;
  }

  /**
   * @param {number|null|undefined} jeuId
   * @returns {ProgrammeEntry|null}
   */
  entry(jeuId) {
    return this.live?.programme.find((entry) => entry.jeu_id === jeuId) ?? null;
  }

  /** @param {number} jeuId */
  tally(jeuId) {
    return (this.live && this.tallies.get(jeuKey(this.live.live_id, jeuId))) ?? null;
  }

  /** @param {number} jeuId */
  myNote(jeuId) {
    return (this.live && this.mine.get(jeuKey(this.live.live_id, jeuId))) ?? null;
  }
}

/**
 * @param {string} live
 * @param {number} jeu
 */
export function jeuKey(live, jeu) {
  return `${live}/${jeu}`;
}
