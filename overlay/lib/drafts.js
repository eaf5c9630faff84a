// @ts-check
/**
 * What somebody said about a jeu that no note can say: "sans avis", and scores that wait until every critere that must
 * be rated is. Kept in storage, so that a reload forgets neither.
 */
/** @import { Scores } from "./types.js" */
import { jeuKey } from "./snapshot.js";

const PREFIX = "bareme.draft/";
/** A live is over by then. */
const FORGET_AFTER_MS = 36 * 3600 * 1000;

/** @typedef {{at: number, scores: Scores|null, none: string[]}} Draft */

export class Drafts {
  /** @type {Map<string, Draft>} */
  #drafts = new Map();

  /** @param {Storage|null} storage */
  constructor(storage) {
    this.storage = storage;
    this.load();
  }

  /** Reads what is kept: at first, and when another tab wrote it. */
  load() {
    this.#drafts.clear();
    for (const key of this.storage ? Object.keys(this.storage) : []) {
      const draft = key.startsWith(PREFIX) ? read(this.storage?.getItem(key)) : null;
      if (draft && draft.at > Date.now() - FORGET_AFTER_MS) this.#drafts.set(key.slice(PREFIX.length), draft);
      else if (key.startsWith(PREFIX)) this.storage?.removeItem(key);
    }
  }

  /** Scores that are not complete. @param {string} live @param {number} jeu @returns {Scores|null} */
  scores(live, jeu) {
    return this.#drafts.get(jeuKey(live, jeu))?.scores ?? null;
  }

  /** Whether "sans avis" was chosen for a critere. @param {string} live @param {number} jeu @param {string} critere */
  abstains(live, jeu, critere) {
    return this.#drafts.get(jeuKey(live, jeu))?.none.includes(critere) ?? false;
  }

  /**
   * @param {string} live
   * @param {number} jeu
   * @param {Scores|null} scores null once they are complete
   * @param {string} [critere] the one that was just rated
   * @param {boolean} [abstains] or not, on purpose
   */
  set(live, jeu, scores, critere = "", abstains = false) {
    const key = jeuKey(live, jeu);
    const others = (this.#drafts.get(key)?.none ?? []).filter((other) => other !== critere);
    const draft = { at: Date.now(), scores, none: abstains ? [...others, critere] : others };
    this.#drafts.set(key, draft);
    try {
      this.storage?.setItem(PREFIX + key, JSON.stringify(draft));
    } catch {
      // A full or forbidden storage: it still lives as long as the page.
    }
  }

  /** @param {string} live @param {number} jeu */
  clear(live, jeu) {
    this.#drafts.delete(jeuKey(live, jeu));
    this.storage?.removeItem(PREFIX + jeuKey(live, jeu));
  }
}

/**
 * @param {string|null|undefined} text
 * @returns {Draft|null}
 */
function read(text) {
  try {
    const draft = JSON.parse(text ?? "null");
    return Number.isFinite(draft?.at) && typeof draft.scores === "object" && Array.isArray(draft.none) ? draft : null;
  } catch {
    return null;
  }
}
