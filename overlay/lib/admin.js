// @ts-check
/** What the admin page works on: the session, the chosen channel, its catalogue, and the live numbers. */
/** @import { Bareme } from "./types.js" */
import { Api, ApiError } from "./api.js";
import { Connection } from "./connection.js";
import { reloadOnceFor, socketUrl } from "./page.js";
import { Snapshot } from "./snapshot.js";

/**
 * @typedef {{slug: string, title: string, viewer_url: string, close_delay_ms: number, open_live: string|null,
 *   last_live: string|null}} Channel
 * @typedef {{jeu_id: number, title: string, platform?: string, genre?: string, year?: number}} Jeu
 * @typedef {Bareme & {bareme_id: string}} SavedBareme
 * @typedef {{live_id: string, title: string, status: 'draft'|'open'|'closed', jeux: number[],
 *   opened_at_us?: number|null}} LiveSummary
 * @typedef {{key_id: string, name: string, created_at_us: number, key?: string, url?: string}} OverlayKey
 * @typedef {'read'|'drive'|'manage'|'accounts'} Scope
 * @typedef {{token_id: string, name: string, scopes: Scope[], created_at_us: number, expires_at_us: number|null,
 *   made_by: string|null}} Token
 * @typedef {{name: string, role: string, has_second_factor: boolean, has_passkey: boolean, csrf: string}} Session
 */

const REMEMBERED = "bareme.admin.channel";

export class Admin {
  /**
   * @param {string} base
   * @param {string} build
   * @param {string} party the host that passkeys are made for; empty when there can be none
   * @param {() => void} onChange
   */
  constructor(base, build, party, onChange) {
    this.base = base;
    this.build = build;
    this.party = party;
    this.onChange = onChange;
    this.api = new Api(base);
    this.api.onSignedOut = () => this.signedOut();
    /** @type {Session|null} */
    this.session = null;
    this.needsSetup = false;
    this.ready = false;
    /** @type {Channel[]} */
    this.channels = [];
    /** @type {string} */
    this.slug = "";
    /** @type {Connection|null} */
    this.connection = null;
    /** @type {{jeux: Jeu[], baremes: SavedBareme[], lives: LiveSummary[], keys: OverlayKey[]}} */
    this.data = { jeux: [], baremes: [], lives: [], keys: [] };
    /** @type {Bareme[]} */
    this.presets = [];
    this.seen = "";
    /** Whether a session ended here without anybody asking for it. */
    this.wasCutOff = false;
    /** Whether the first run is on its way: its form stays until all of it is done. */
    this.isStarting = false;
  }

  get channel() {
    return this.channels.find((channel) => channel.slug === this.slug) ?? null;
  }

  get snapshot() {
    return this.connection?.snapshot ?? EMPTY;
  }

  /** The live on air of the chosen channel; one that is made up is none. */
  get openLive() {
    const { live } = this.snapshot;
    return live?.status === "open" && !live.test ? live : null;
  }

  /** The made-up live of the test mode. */
  get testLive() {
    const { live } = this.snapshot;
    return live?.test ? live : null;
  }

  /** When the live on air began, microseconds since 1970. */
  get openedAtUs() {
    const { openLive } = this;
    return this.data.lives.find(({ live_id }) => live_id === openLive?.live_id)?.opened_at_us ?? 0;
  }

  /** The server's clock. */
  get clock() {
    return this.connection?.clock;
  }

  /** Whether one may change what is prepared, and not only drive. */
  get isAdmin() {
    return this.session?.role === "admin";
  }

  /** Whether buttons may act: nothing is a promise while the server is away. */
  get isConnected() {
    return this.connection === null || this.snapshot.link === "live";
  }

  /** Path of the chosen channel below `/api/`. @param {string} [rest] */
  path(rest = "") {
    return `admin/channels/${encodeURIComponent(this.slug)}${rest}`;
  }

  async boot() {
    this.presets = await this.api.get("admin/bareme-presets").catch(() => []);
    try {
      await this.signedIn(await this.api.get("admin/session"));
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      this.needsSetup = error.code === "setup_required";
      this.ready = true;
      this.onChange();
    }
  }

  /** @param {Session} session */
  async signedIn(session) {
    this.session = session;
    this.needsSetup = false;
    this.wasCutOff = false;
    this.api.csrf = session.csrf;
    if (this.presets.length === 0) this.presets = await this.api.get("admin/bareme-presets");
    await this.loadChannels();
    this.ready = true;
    this.onChange();
  }

  /** Nobody is signed in any more. Several refused calls may say so, one after the other. */
  signedOut() {
    if (this.session !== null) this.wasCutOff = true;
    this.session = null;
    this.#leave();
    this.onChange();
  }

  /** No channel is chosen any more. */
  #leave() {
    this.connection?.stop();
    this.connection = null;
    this.slug = "";
  }

  async loadChannels() {
    this.channels = await this.api.get("admin/channels");
    const known = this.channels.some((channel) => channel.slug === this.slug);
    const remembered = remember();
    const first = this.channels.find((channel) => channel.slug === remembered) ?? this.channels[0];
    if (!known && first) await this.choose(first.slug);
    if (!first) this.#leave();
    this.onChange();
  }

  /** @param {string} slug */
  async choose(slug) {
    this.connection?.stop();
    this.slug = slug;
    this.seen = "";
    remember(slug);
    this.data = { jeux: [], baremes: [], lives: [], keys: [] };
    this.connection = new Connection({
      url: socketUrl(this.base, slug, { role: "admin" }),
      role: "admin",
      build: this.build,
      onOtherBuild: (other) => reloadOnceFor(other, 500),
      onChange: () => this.#heard(),
      isRefused: () => this.#isSignedOut(),
    }).start();
    await this.reload();
  }

  #heard() {
    const { live, admin, state, link } = this.snapshot;
    if (link === "refused") this.#isSignedOut();
    if (link === "gone") this.loadChannels().catch(() => {});
    // What somebody else did: the lists follow.
    const seen = JSON.stringify([live?.live_id, live?.status, admin?.lists, admin?.pod, state?.channel_title]);
    if (link === "live" && seen !== this.seen) {
      this.seen = seen;
      this.#follow();
    }
    this.onChange();
  }

  /** Reads channels and lists again; what comes meanwhile is read after it. */
  async #follow() {
    const { seen } = this;
    try {
      this.channels = await this.api.get("admin/channels");
      await this.reload();
    } catch {
      // The next news, or the next connection, asks again.
      if (this.seen === seen) this.seen = "";
    }
  }

  async #isSignedOut() {
    try {
      await this.api.get("admin/session");
      return false;
    } catch (error) {
      const signedOut = error instanceof ApiError && error.status === 401;
      if (signedOut) this.signedOut();
      return signedOut;
    }
  }

  /** Reads the lists of the chosen channel again. */
  async reload() {
    const { slug } = this;
    if (!slug) return;
    const [jeux, baremes, lives, keys] = await Promise.all(
      ["/jeux", "/baremes", "/lives", "/overlay-keys"].map((rest) => this.api.get(this.path(rest))),
    );
    if (slug !== this.slug) return;
    this.data = { jeux, baremes, lives, keys };
    this.onChange();
  }

  async signOut() {
    await this.api.post("admin/logout");
    this.session = null;
    this.wasCutOff = false;
    this.signedOut();
  }
}

/** What is known before there is a connection. */
const EMPTY = new Snapshot();

/**
 * The channel chosen last in this browser.
 *
 * @param {string} [slug]
 */
function remember(slug) {
  try {
    if (slug) localStorage.setItem(REMEMBERED, slug);
    return localStorage.getItem(REMEMBERED) ?? "";
  } catch {
    return slug ?? "";
  }
}
