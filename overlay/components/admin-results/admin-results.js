// @ts-check
/** Results of the channel's lives: each with its ranking, and all of them next to each other. */
/** @import { Admin, LiveSummary } from "../../lib/admin.js" */
/** @import { LiveResult } from "../../lib/results.js" */
import { problemWords } from "../../lib/actions.js";
import { define, h, rebuild } from "../../lib/dom.js";
import { LiveResults } from "../live-results/live-results.js";
import { LivesCompare } from "../lives-compare/lives-compare.js";

/** How old the numbers of a live on air may be while somebody looks at them. */
const FRESH_MS = 5_000;
/** More lives than this are not read to compare them: each is a request. */
const MOST_COMPARED = 20;

/**
 * @typedef {object} Shown
 * @property {LiveSummary} live
 * @property {HTMLDetailsElement} element
 * @property {LiveResults} results
 * @property {HTMLElement} say
 * @property {string} readAs status at which it was read last; empty: not yet
 * @property {number} readAt
 * @property {ReturnType<typeof setTimeout>} [later] reads it again
 */

export class AdminResults extends HTMLElement {
  /** @type {Shown[]} */
  #shown = [];
  /** @type {Map<string, LiveResult>} of lives that are over: they do not change any more */
  #over = new Map();

  /**
   * @param {Admin} admin
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {import("../../lib/format.js").Format} format
   */
  setUp(admin, t, format) {
    this.admin = admin;
    this.t = t;
    this.format = format;
    this.list = h("div", {});
    this.compare = new LivesCompare().setUp(t, format, () => this.#readAll());
    this.classList.add("studio");
    this.replaceChildren(h("section", { class: "section" }, h("h2", { class: "section__title" }, t("admin.results.title")), this.list), this.compare);
    return this;
  }

  render() {
    const { admin, t, format, list, compare } = this;
    if (!admin || !t || !format || !list || !compare) return;
    const lives = admin.data.lives.filter((live) => live.status !== "draft");
    const open = new Set(this.#shown.filter(({ element }) => element.open).map(({ live }) => live.live_id));
    rebuild(list, JSON.stringify([admin.slug, lives]), () => {
      // Somebody who comes to see results wants the newest ones.
      if (open.size === 0 && lives.length > 0) open.add(lives[0].live_id);
      this.#shown = lives.map((live) => this.#section(live, open.has(live.live_id)));
      compare.follow(lives.slice(0, MOST_COMPARED));
      return lives.length === 0 ? [h("p", { class: "empty" }, t("admin.results.none"))] : this.#shown.map(({ element }) => element);
    });
    // Nothing is read for a tab that nobody looks at.
    if (this.offsetParent !== null) for (const shown of this.#shown) if (shown.element.open) this.#refresh(shown);
  }

  /** @param {LiveSummary} live @param {boolean} isOpen @returns {Shown} */
  #section(live, isOpen) {
    const { admin, t, format } = this;
    const results = new LiveResults();
    if (admin && t && format) results.setUp(admin, t, format);
    const say = h("p", { class: "problem", role: "alert" });
    const onAir = live.status === "open" ? h("b", { class: "result__on-air" }, t?.("link.live") ?? "") : null;
    const date = format?.date(live.opened_at_us ?? 0) ?? "";
    const summary = h("summary", { class: "result__summary", "data-focus": live.live_id }, h("span", { class: "result__title", dir: "auto" }, live.title), h("span", { class: "field__hint" }, onAir, date));
    const element = h("details", { class: "more result", open: isOpen, ontoggle: () => this.render() }, summary, say, results);
    return { live, element, results, say, readAs: "", readAt: 0 };
  }

  /** @param {Shown} shown */
  async #refresh(shown) {
    const { live } = shown;
    const age = Date.now() - shown.readAt;
    if (shown.readAs === live.status && live.status === "closed") return;
    if (shown.readAs === live.status && age < FRESH_MS) {
      // News came too early to be read: it is not forgotten.
      clearTimeout(shown.later);
      shown.later = setTimeout(() => this.render(), FRESH_MS - age);
      return;
    }
    // Said before it is read: frames that come meanwhile must not ask again.
    [shown.readAs, shown.readAt] = [live.status, Date.now()];
    try {
      shown.results.show(await this.#read(live));
      shown.say.textContent = "";
    } catch (error) {
      shown.readAs = "";
      if (this.t) shown.say.textContent = problemWords(error, this.t);
    }
  }

  /** @param {LiveSummary} live @returns {Promise<LiveResult>} */
  async #read(live) {
    // The end of a live can be taken back.
    if (live.status !== "closed") this.#over.delete(live.live_id);
    const known = this.#over.get(live.live_id);
    if (known) return known;
    /** @type {LiveResult} */
    const result = await this.admin?.api.get(`lives/${live.live_id}/results`);
    const isComplete = result.jeux.every(({ phase, unavailable }) => phase !== "closing" && !unavailable);
    if (result.status === "closed" && isComplete) this.#over.set(live.live_id, result);
    return result;
  }

  #readAll() {
    return Promise.all(this.#shown.slice(0, MOST_COMPARED).map(({ live }) => this.#read(live)));
  }
}

define("admin-results", AdminResults);
