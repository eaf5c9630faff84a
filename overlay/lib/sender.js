// @ts-check
/**
 * When a wanted note is sent, and when again. For each jeu there is one timer, which any answer for that jeu cancels, and
 * one message on its way: what the viewer taps meanwhile takes the place of what is wanted and leaves after the answer.
 * However long a server refuses, a viewer sends a bounded number of messages.
 */
/** @import { Wish } from "./types.js" */
import { jeuKey } from "./snapshot.js";

/** A note without an answer for this long, and up to half as long again, is sent again. */
export const REPLY_MS = 5_000;
/** The first pause after "send it again", and the longest. It doubles, and half of it is left to chance: a crowd that was
 * refused at once does not come back at once. */
export const FIRST_PAUSE_MS = 500;
export const LONGEST_PAUSE_MS = 5_000;

/**
 * @param {number} attempt 0 after the first refusal
 * @param {number} afterMs what the server asked for; never less
 * @param {() => number} random
 */
export function pauseMs(attempt, afterMs, random) {
  const most = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempt, 16));
  return Math.max(afterMs, (most / 2) * (1 + random()));
}

export class Sender {
  /**
   * @param {(live: string, jeu: number) => Wish|null} wanted what is wanted for a jeu now
   * @param {(wish: Wish) => boolean} transmit false when there is nobody to send it to
   * @param {() => number} random
   */
  constructor(wanted, transmit, random = Math.random) {
    this.wanted = wanted;
    this.transmit = transmit;
    this.random = random;
    /** @type {Map<string, ReturnType<typeof setTimeout>>} */
    this.timers = new Map();
    /** @type {Map<string, number>} refusals in a row */
    this.attempts = new Map();
  }

  /**
   * Something is wanted. It is sent now, unless a message for that jeu waits for its answer or for its turn.
   *
   * @param {Wish} wish
   */
  offer({ live, jeu }) {
    if (!this.timers.has(jeuKey(live, jeu))) this.#send(live, jeu);
  }

  /**
   * An answer for a jeu came, to whichever of its messages.
   *
   * @param {string} live
   * @param {number} jeu
   * @param {number|null} againMs null: it was final; else what the server asked to wait for
   */
  heard(live, jeu, againMs) {
    const key = jeuKey(live, jeu);
    this.#cancel(key);
    if (againMs === null) {
      this.attempts.delete(key);
      return this.#send(live, jeu);
    }
    const attempt = this.attempts.get(key) ?? 0;
    this.attempts.set(key, attempt + 1);
    this.#arm(live, jeu, pauseMs(attempt, againMs, this.random));
  }

  /** The connection ended, and its messages with it. */
  reset() {
    for (const timer of this.timers.values()) clearTimeout(timer);
    this.timers.clear();
  }

  /**
   * @param {string} live
   * @param {number} jeu
   */
  #send(live, jeu) {
    this.#cancel(jeuKey(live, jeu));
    const wish = this.wanted(live, jeu);
    if (wish && this.transmit(wish)) this.#arm(live, jeu, REPLY_MS * (1 + this.random() / 2));
  }

  /**
   * @param {string} live
   * @param {number} jeu
   * @param {number} ms
   */
  #arm(live, jeu, ms) {
    this.timers.set(jeuKey(live, jeu), setTimeout(() => this.#send(live, jeu), ms));
  }

  /** @param {string} key */
  #cancel(key) {
    clearTimeout(this.timers.get(key));
    this.timers.delete(key);
  }
}
