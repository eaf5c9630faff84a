// @ts-check
/**
 * The notes somebody wants and the server has not answered for good: at most one for each jeu, never a queue. They
 * outlive the page in storage, so that a vote cast in a tunnel is sent after it.
 */
/** @import { Wish, Scores, Reply, Mine, Refusal, Status } from "./types.js" */
import { jeuKey } from "./snapshot.js";

const PREFIX = "bareme.note/";
/** A live is over by then. */
const FORGET_AFTER_US = 36 * 3600 * 1e6;
/** @type {ReadonlySet<Status>} */
const SEND_AGAIN = new Set(/** @type {Status[]} */ (["unknown", "retry_after", "too_fast"]));

/** Whether a status asks for the same note again. @param {Status} status */
export const isForAnotherTry = (status) => SEND_AGAIN.has(status);

export class Wishes {
  /**
   * @param {Pick<Storage, 'getItem'|'setItem'|'removeItem'|'key'|'length'>|null} storage
   * @param {import("./clock.js").ServerClock} clock
   */
  constructor(storage, clock) {
    this.storage = storage;
    this.clock = clock;
    /** @type {Map<string, Wish>} */
    this.wanted = new Map();
    /** @type {Map<string, Refusal>} */
    this.refusals = new Map();
    this.load();
  }

  /** Reads what is kept: at first, and on each new connection, since a tab may have gone and left its wish. */
  load() {
    if (!this.storage) return;
    const keys = Array.from({ length: this.storage.length }, (_, index) => this.storage?.key(index) ?? "");
    for (const key of keys.filter((name) => name.startsWith(PREFIX))) {
      const wish = readWish(this.storage.getItem(key));
      if (!wish || wish.v < this.clock.nowUs() - FORGET_AFTER_US) this.storage.removeItem(key);
      else if (wish.v > (this.wanted.get(jeuKey(wish.live, wish.jeu))?.v ?? 0)) this.wanted.set(jeuKey(wish.live, wish.jeu), wish);
    }
  }

  /**
   * Replaces what is wanted for a jeu.
   *
   * @param {string} live
   * @param {number} jeu
   * @param {Scores|null} scores
   * @param {number} heldV version of the note the server is known to hold
   */
  want(live, jeu, scores, heldV) {
    const key = jeuKey(live, jeu);
    const lastV = Math.max(heldV, this.wanted.get(key)?.v ?? 0);
    return this.#keep({ live, jeu, v: this.clock.nextVersion(lastV), scores });
  }

  /** @param {Wish} wish */
  #keep(wish) {
    const key = jeuKey(wish.live, wish.jeu);
    this.wanted.set(key, wish);
    this.refusals.delete(key);
    try {
      this.storage?.setItem(PREFIX + key, JSON.stringify(wish));
    } catch {
      // A full or forbidden storage: the wish still lives as long as the page.
    }
    return wish;
  }

  /**
   * @param {string} key
   * @param {number} v what is kept up to this version is done; another tab may have kept something newer
   */
  #drop(key, v) {
    this.wanted.delete(key);
    const kept = readWish(this.storage?.getItem(PREFIX + key) ?? null);
    if (!kept || kept.v <= v) this.storage?.removeItem(PREFIX + key);
  }

  /**
   * What the server answered.
   *
   * @param {Reply} reply
   * @returns {{done: boolean, mine?: Mine, again?: Wish}} `again`: this is to be sent again
   */
  settle(reply) {
    if (reply.live === null || reply.jeu === null) return { done: false };
    const { live, jeu } = reply;
    const key = jeuKey(live, jeu);
    const wish = this.wanted.get(key);
    if (!wish || wish.v !== reply.v) return { done: false };
    if (isForAnotherTry(reply.status)) return { done: false, again: wish };
    if (reply.status === "invalid" && reply.now_us && reply.problem?.field === "v") {
      // Our idea of the server's clock was wrong. It just told us the right one.
      this.clock.greet(reply.now_us);
      this.wanted.delete(key);
      const v = Math.max(this.clock.nextVersion(0), Number(reply.problem.params?.next_v) || 0);
      return { done: false, again: this.#keep({ ...wish, v }) };
    }
    this.#drop(key, wish.v);
    if (reply.status === "ok") return { done: true, mine: { live, jeu, v: wish.v, scores: wish.scores ?? {} } };
    this.refusals.set(key, { status: reply.status, problem: reply.problem, v: wish.v });
    const held = reply.held;
    return held ? { done: true, mine: { live, jeu, v: held.v, scores: held.scores } } : { done: true };
  }

  /**
   * The server says what it holds: an older wish is done, and a note that it holds was not refused, whatever became of
   * the answer that said so. A wish that it holds was sent by another connection or to another pod and may not be durable
   * yet: its own answer says when it is.
   *
   * @param {Mine} mine
   */
  adopt(mine) {
    const key = jeuKey(mine.live, mine.jeu);
    const wish = this.wanted.get(key);
    if (wish && wish.v < mine.v) this.#drop(key, mine.v);
    if (this.refusals.get(key)?.v === mine.v) this.refusals.delete(key);
  }

  /**
   * @param {string} live
   * @param {number} jeu
   */
  get(live, jeu) {
    return this.wanted.get(jeuKey(live, jeu)) ?? null;
  }

  /**
   * @param {string} live
   * @param {number} jeu
   */
  refusal(live, jeu) {
    return this.refusals.get(jeuKey(live, jeu)) ?? null;
  }

  all() {
    return [...this.wanted.values()];
  }

  /**
   * Those for one live. Others wait for the page of their channel, which shares the storage.
   *
   * @param {string|undefined} live
   */
  of(live) {
    return this.all().filter((wish) => wish.live === live);
  }
}

/**
 * @param {string|null} text
 * @returns {Wish|null}
 */
function readWish(text) {
  try {
    const wish = JSON.parse(text ?? "null");
    const fits = typeof wish?.live === "string" && Number.isSafeInteger(wish.jeu) && Number.isSafeInteger(wish.v);
    return fits && typeof wish.scores === "object" ? wish : null;
  } catch {
    return null;
  }
}

/** The page's storage, or null where the browser forbids it. */
export function pageStorage() {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}
