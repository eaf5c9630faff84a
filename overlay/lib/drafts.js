// @ts-check
/** Choices that are not a note yet, because a critere that must be rated is missing. They live as long as the page. */
/** @import { Scores } from "./types.js" */
import { jeuKey } from "./snapshot.js";

export class Drafts {
  /** @type {Map<string, Scores>} */
  #scores = new Map();
  /** @type {Set<string>} criteres somebody said something about, "sans avis" included */
  #touched = new Set();

  /** @param {string} live @param {number} jeu @returns {Scores|null} */
  get(live, jeu) {
    return this.#scores.get(jeuKey(live, jeu)) ?? null;
  }

  /** @param {string} live @param {number} jeu @param {Scores} scores */
  set(live, jeu, scores) {
    this.#scores.set(jeuKey(live, jeu), scores);
  }

  /** @param {string} live @param {number} jeu */
  clear(live, jeu) {
    this.#scores.delete(jeuKey(live, jeu));
  }

  /** @param {string} live @param {number} jeu @param {string} critere */
  touch(live, jeu, critere) {
    this.#touched.add(`${jeuKey(live, jeu)}/${critere}`);
  }

  /** @param {string} live @param {number} jeu @param {string} critere */
  touched(live, jeu, critere) {
    return this.#touched.has(`${jeuKey(live, jeu)}/${critere}`);
  }

  /** @param {string} live @param {number} jeu */
  forgetTouches(live, jeu) {
    const prefix = `${jeuKey(live, jeu)}/`;
    for (const key of this.#touched) if (key.startsWith(prefix)) this.#touched.delete(key);
  }
}
