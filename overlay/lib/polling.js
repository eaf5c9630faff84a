// @ts-check
/** What a page does where WebSocket is blocked: asks for the state every two seconds, and posts its notes. */
import { retryDelayMs } from "./backoff.js";

/** @import { Wish, Reply, Status } from "./types.js" */

/** Between two questions; moved by a quarter either way, so that pages which lost a server together spread out. */
const EVERY_MS = 2_000;
const TIMEOUT_MS = 5_000;

/** @type {ReadonlySet<string>} */
const KNOWN = new Set(["stale", "closed", "not_open", "invalid", "too_fast", "retry_after", "unknown"]);
/** The live ended, and another one may have begun. @type {ReadonlySet<string>} */
const GONE = new Set(["no_open_live", "unknown_live"]);

export class Polling {
  /**
   * @param {{stateUrl: string, noteUrl: string}} urls
   * @param {import("./connection.js").Connection} connection
   */
  constructor(urls, connection) {
    this.urls = urls;
    this.connection = connection;
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this.timer = undefined;
    this.running = false;
    this.asking = false;
    /** Questions in a row without an answer. */
    this.failures = 0;
    /** Something happened that the answer on its way may not know. */
    this.askAgain = false;
  }

  start() {
    if (this.running) return;
    this.running = true;
    this.failures = 0;
    this.#ask();
  }

  stop() {
    this.running = false;
    clearTimeout(this.timer);
  }

  async #ask() {
    const { connection } = this;
    clearTimeout(this.timer);
    this.askAgain = this.asking;
    if (this.asking) return;
    this.asking = true;
    let wait = EVERY_MS * (0.75 + Math.random() / 2);
    try {
      const response = await fetch(this.urls.stateUrl, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
      const { state, tallies, mine, now_us, code } = await response.json();
      if (!this.running) return;
      if (code === "unknown_channel") return connection.giveUp("gone");
      if (!response.ok) throw new Error(`status ${response.status}`);
      this.failures = 0;
      connection.clock.greet(now_us);
      const { snapshot } = connection;
      snapshot.forgetRevs();
      snapshot.applyState(state);
      for (const tally of tallies) snapshot.applyTally(tally);
      for (const note of mine) connection.hearMine(note);
      connection.setLink("polling");
      connection.changed();
      connection.sendWishes();
    } catch {
      if (this.running) connection.setLink("lost");
      // Never quick: the sockets are tried meanwhile, and they are.
      wait += retryDelayMs(this.failures, 0, 0, Math.random);
      this.failures += 1;
      this.askAgain = false;
    } finally {
      this.asking = false;
      if (this.running) this.timer = setTimeout(() => this.#ask(), this.askAgain ? 0 : wait);
    }
  }

  /** @param {Wish} wish */
  async send(wish) {
    try {
      const reply = await this.#post(wish);
      this.connection.hearReply(reply);
      // What one's own note moved, or lifts the mask of, need not wait for its turn.
      if (reply.status === "ok" && this.running) this.#ask();
    } catch {
      // Not delivered, or nobody knows.
      this.connection.sender.heard(wish.live, wish.jeu, 0);
    }
  }

  /**
   * @param {Wish} wish
   * @returns {Promise<Reply>}
   */
  async #post({ live, jeu, v, scores }) {
    const viewer = this.connection.viewer;
    const body = { live_id: live, jeu_id: jeu, v, ...(scores ? { scores } : { withdraw: true }), ...(viewer && { viewer }) };
    const response = await fetch(this.urls.noteUrl, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const answer = await response.json();
    const reply = { live, jeu, v };
    if (response.ok) return { ...reply, status: "ok" };
    if (GONE.has(answer.code)) return { ...reply, status: "closed" };
    if (!KNOWN.has(answer.code)) return { ...reply, status: response.status >= 500 ? "retry_after" : "invalid", problem: answer };
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    return {
      ...reply,
      status: /** @type {Status} */ (answer.code),
      held: answer.held,
      retry_after_ms: seconds * 1000,
      now_us: answer.now_us,
      problem: answer.field ? answer : undefined,
    };
  }
}
