// @ts-check
/** Tells people who do not see the page what changed in it: politely, once, and never a number that only moved. */
import { h } from "./dom.js";

export class Announcer {
  /** @type {Map<string, string>} what was last heard of each subject */
  #known = new Map();
  /** @type {string[]} */
  #waiting = [];

  constructor() {
    this.element = h("p", { class: "sr-only", role: "status" });
  }

  /**
   * Says `words` when `state` is another one than before. How a subject stands when it first comes up is no news.
   *
   * @param {string} subject
   * @param {string} state
   * @param {string} words said of it; nothing when empty
   */
  hear(subject, state, words) {
    const before = this.#known.get(subject);
    this.#known.set(subject, state);
    if (before !== undefined && before !== state && words) this.#waiting.push(words);
  }

  /** Says what was heard since, in one breath. */
  speak() {
    if (this.#waiting.length === 0) return;
    // A new node, so that the same words are heard twice when they are said twice.
    this.element.replaceChildren(this.#waiting.join(", "));
    this.#waiting = [];
  }
}
