// @ts-check
/**
 * The only owner of the socket. Keeps a {@link Snapshot} current: connects for ever, says when it is not connected,
 * hands wanted notes in until each has its final answer, and polls over HTTP where sockets do not get through.
 */
/** @import { Welcome, Pong, Mine, Reply, Wish, Scores, Link } from "./types.js" */
import { retryDelayMs, verdictOnClose, STAGE_QUICK_FOR_MS, VIEWER_QUICK_FOR_MS } from "./backoff.js";
import { ServerClock } from "./clock.js";
import { Polling } from "./polling.js";
import { Sender } from "./sender.js";
import { Snapshot } from "./snapshot.js";
import { isForAnotherTry, Wishes } from "./wishes.js";

/** How long a handshake may take before another one is tried. */
const HANDSHAKE_MS = 8_000;
/** After a wake-up, how long a pong may take before the socket counts as dead. */
const WAKE_PONG_MS = 2_500;
/** Handshakes that fail in a row before the page asks over HTTP as well. */
const FAILURES_BEFORE_POLLING = 2;
const TICK_MS = 1_000;
/** Code of our own side giving up on a silent socket. */
const SILENT = 4001;

/**
 * @typedef {object} Options
 * @property {string} url address of the socket
 * @property {(snapshot: Snapshot) => void} onChange
 * @property {'viewer'|'overlay'|'admin'} role
 * @property {string} [build] build of this page
 * @property {(build: string) => void} [onOtherBuild]
 * @property {Storage|null} [storage] where wanted notes survive the page
 * @property {{stateUrl: string, noteUrl: string}} [http] where to poll when sockets are blocked
 * @property {() => Promise<boolean>} [isRefused] asks, after a failed handshake, whether the credential is no good
 */

export class Connection {
  /** @param {Options} options */
  constructor(options) {
    this.options = options;
    this.clock = new ServerClock();
    this.snapshot = new Snapshot();
    this.wishes = new Wishes(options.storage ?? null, this.clock);
    /** @type {WebSocket|null} */
    this.socket = null;
    this.greeted = false;
    this.attempt = 0;
    this.failures = 0;
    this.lostAt = Date.now();
    this.heardAt = 0;
    this.openedAt = 0;
    this.pingIntervalMs = 20_000;
    /** @type {Map<number, number>} local time each ping was sent at */
    this.pings = new Map();
    this.pingId = 0;
    this.deadline = Infinity;
    this.sender = new Sender((live, jeu) => this.wishes.get(live, jeu), (wish) => this.#transmit(wish));
    /** @type {string|undefined} token for browsers that keep no cookie */
    this.viewer = undefined;
    /** @type {string|undefined} who the server makes of us when it does not know us */
    this.offered = undefined;
    this.stopped = false;
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this.retry = undefined;
    this.polling = options.http ? new Polling(options.http, this) : null;
    this.wake = this.wake.bind(this);
  }

  start() {
    for (const event of ["online", "pageshow", "focus"]) window.addEventListener(event, this.wake);
    document.addEventListener("visibilitychange", this.wake);
    // Tabs of one browser are one viewer, unless it keeps no cookies. The server tells each of them its notes only once.
    if (this.options.role === "viewer" && window.BroadcastChannel) {
      this.tabs = new BroadcastChannel("bareme.mine");
      this.tabs.onmessage = ({ data }) => this.viewer === undefined && data.live === this.snapshot.live?.live_id && this.hearMine(data);
    }
    this.ticker = setInterval(() => this.#tick(), TICK_MS);
    this.#connect();
    return this;
  }

  stop() {
    this.stopped = true;
    for (const event of ["online", "pageshow", "focus"]) window.removeEventListener(event, this.wake);
    document.removeEventListener("visibilitychange", this.wake);
    clearInterval(this.ticker);
    clearTimeout(this.retry);
    this.polling?.stop();
    this.sender.reset();
    this.tabs?.close();
    this.#detach();
  }

  /** Looks at the link at once: the page came back, or the network did. */
  wake() {
    if (this.stopped || this.#isOver()) return;
    if (!this.socket) {
      this.attempt = 0;
      this.#connect();
    } else if (this.greeted) {
      this.#ping();
      this.deadline = Math.min(this.deadline, Date.now() + WAKE_PONG_MS);
    } else if (Date.now() - this.openedAt > WAKE_PONG_MS) {
      this.#lose(SILENT);
    }
  }

  /**
   * Wants a note, or `null` for none. It is sent now or when there is somebody to send it to.
   *
   * @param {string} live
   * @param {number} jeu
   * @param {Scores|null} scores
   */
  want(live, jeu, scores) {
    const held = this.snapshot.mine.get(`${live}/${jeu}`)?.v ?? 0;
    this.sender.offer(this.wishes.want(live, jeu, scores, held));
    this.changed();
  }

  changed() {
    this.options.onChange(this.snapshot);
  }

  /** @param {Link} link */
  setLink(link) {
    if (this.snapshot.link === link) return;
    this.snapshot.link = link;
    this.snapshot.linkSince = Date.now();
    this.changed();
  }

  #isOver() {
    return this.snapshot.link === "refused" || this.snapshot.link === "gone";
  }

  #connect() {
    clearTimeout(this.retry);
    if (this.stopped || this.socket) return;
    this.greeted = false;
    this.deadline = Infinity;
    this.openedAt = Date.now();
    this.pings.clear();
    // While a page polls, its notes are on their way by another road.
    if (this.snapshot.link !== "polling") this.sender.reset();
    const socket = new WebSocket(this.options.url);
    this.socket = socket;
    socket.onmessage = (event) => this.#hear(event.data);
    socket.onclose = (event) => this.#lose(event.code);
  }

  #detach() {
    const socket = this.socket;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    this.socket = null;
    socket.close();
  }

  /** @param {number} code */
  #lose(code) {
    const wasGreeted = this.greeted;
    this.#detach();
    this.greeted = false;
    const verdict = verdictOnClose(code);
    if (verdict !== "retry") return this.giveUp(verdict);
    if (wasGreeted) {
      this.attempt = 0;
      this.failures = 0;
      this.lostAt = Date.now();
    } else {
      this.failures += 1;
      this.#askWhetherRefused();
    }
    if (this.polling && this.failures >= FAILURES_BEFORE_POLLING) this.polling.start();
    if (this.snapshot.link !== "polling") this.setLink("lost");
    const quickFor = this.options.role === "viewer" ? VIEWER_QUICK_FOR_MS : STAGE_QUICK_FOR_MS;
    const delay = retryDelayMs(this.attempt, Date.now() - this.lostAt, quickFor, Math.random);
    this.attempt += 1;
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.#connect(), delay);
  }

  /** A browser does not tell a page why a handshake failed: ask in another way. */
  async #askWhetherRefused() {
    if (!this.options.isRefused || this.asking) return;
    this.asking = true;
    const refused = await this.options.isRefused().catch(() => false);
    this.asking = false;
    if (refused && !this.stopped && !this.greeted) this.giveUp("refused");
  }

  /** There is nothing to come back for. @param {'refused'|'gone'} link */
  giveUp(link) {
    clearTimeout(this.retry);
    this.polling?.stop();
    this.#detach();
    this.setLink(link);
  }

  #tick() {
    const now = Date.now();
    if (!this.socket || this.#isOver()) return;
    if (!this.greeted) {
      if (now - this.openedAt > HANDSHAKE_MS) this.#lose(SILENT);
      return;
    }
    const silentMs = now - this.heardAt;
    if (silentMs > 3 * this.pingIntervalMs || now > this.deadline) return this.#lose(SILENT);
    if (silentMs > this.pingIntervalMs && this.pings.size === 0) this.#ping();
    this.sendWishes();
  }

  /** Sends what is wanted for the live that is shown, and does not wait for an answer or its turn. */
  sendWishes() {
    for (const wish of this.wishes.of(this.snapshot.live?.live_id)) this.sender.offer(wish);
  }

  #ping() {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    this.pingId += 1;
    this.pings.set(this.pingId, Date.now());
    this.socket.send(JSON.stringify({ t: "ping", id: this.pingId }));
  }

  /** @param {unknown} data */
  #hear(data) {
    if (typeof data !== "string") return;
    this.heardAt = Date.now();
    this.deadline = Infinity;
    /** @type {any} */
    const message = JSON.parse(data);
    switch (message.t) {
      case "welcome":
        return this.#welcome(message);
      case "pong":
        return this.#pong(message);
      case "reply":
        return this.hearReply(message);
      case "mine":
        return this.hearMine(message);
      case "state":
        if (this.snapshot.applyState(message)) this.changed();
        return this.sendWishes();
      case "tally":
        if (this.snapshot.applyTally(message)) this.changed();
        return;
      case "admin":
        this.snapshot.admin = message;
        return this.changed();
    }
  }

  /** @param {Welcome} welcome */
  #welcome(welcome) {
    this.greeted = true;
    this.attempt = 0;
    this.failures = 0;
    this.pingIntervalMs = Math.max(1, welcome.ping_interval_s) * 1000;
    this.clock.greet(welcome.now_us);
    this.snapshot.forgetRevs();
    this.polling?.stop();
    this.wishes.load();
    this.sender.reset();
    const { build, onOtherBuild } = this.options;
    if (build && welcome.build !== build) onOtherBuild?.(welcome.build);
    this.offered = welcome.viewer;
    if (this.viewer && welcome.viewer) this.socket?.send(JSON.stringify({ t: "hello", viewer: this.viewer }));
    else this.viewer = welcome.viewer ?? this.viewer;
    this.setLink("live");
    this.#ping();
    this.sendWishes();
  }

  /** @param {Pong} pong */
  #pong(pong) {
    const sentAt = this.pings.get(pong.id);
    this.pings.delete(pong.id);
    if (sentAt !== undefined) this.clock.measure(pong.now_us, sentAt);
  }

  /** @param {Mine} mine */
  hearMine(mine) {
    this.wishes.adopt(mine);
    this.snapshot.applyMine(mine);
    this.changed();
  }

  /** @param {Reply} reply */
  hearReply(reply) {
    // The server has another secret: whom we were is nobody any more.
    if (reply.problem?.rule === "invalid_viewer" && this.offered) this.viewer = this.offered;
    const { mine, again } = this.wishes.settle(reply);
    if (mine) this.snapshot.applyMine(mine);
    if (mine && this.viewer === undefined) this.tabs?.postMessage(mine);
    if (reply.live !== null && reply.jeu !== null) {
      const againMs = again || isForAnotherTry(reply.status) ? (reply.retry_after_ms ?? 0) : null;
      this.sender.heard(reply.live, reply.jeu, againMs);
    }
    this.changed();
  }

  /** @param {Wish} wish */
  #transmit(wish) {
    if (this.greeted && this.socket?.readyState === WebSocket.OPEN) {
      const { live, jeu, v, scores } = wish;
      const message = scores ? { t: "note", live, jeu, v, scores } : { t: "withdraw", live, jeu, v };
      this.socket.send(JSON.stringify(message));
      return true;
    }
    if (this.snapshot.link !== "polling" || !this.polling) return false;
    this.polling.send(wish);
    return true;
  }
}
