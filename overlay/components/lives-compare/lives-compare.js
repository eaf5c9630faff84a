// @ts-check
/** Lives next to each other: their means and notes over time, and one jeu wherever it was shown. */
/** @import { LiveSummary } from "../../lib/admin.js" */
/** @import { LiveResult, Point } from "../../lib/results.js" */
import { problemWords } from "../../lib/actions.js";
import { bar, trend } from "../../lib/charts.js";
import { define, h, rebuild } from "../../lib/dom.js";
import { meanOfLive, noteCount, openedAt, recurring, shareOf } from "../../lib/results.js";

export class LivesCompare extends HTMLElement {
  #jeu = 0;

  /**
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {import("../../lib/format.js").Format} format
   * @param {() => Promise<LiveResult[]>} read
   */
  setUp(t, format, read) {
    this.t = t;
    this.format = format;
    this.read = read;
    this.body = h("div", { class: "compare" });
    this.say = h("p", { class: "problem", role: "alert" });
    this.details = h("details", { class: "more", ontoggle: () => this.#load() }, h("summary", {}, h("h2", { class: "section__title" }, t("admin.results.compare"))), this.say, this.body);
    this.replaceChildren(this.details);
    return this;
  }

  /** The lives there are now. @param {LiveSummary[]} lives */
  follow(lives) {
    this.hidden = lives.length === 0;
    this.#load();
  }

  async #load() {
    const { t, read, body, say, details } = this;
    if (!t || !read || !body || !say || !details?.open) return;
    try {
      const lives = await read();
      say.textContent = "";
      rebuild(body, JSON.stringify(lives), () => (lives.length < 2 ? [h("p", { class: "empty" }, t("admin.results.compare_none"))] : [this.#lives(lives), this.#jeux(lives)]));
    } catch (error) {
      say.textContent = problemWords(error, t);
    }
  }

  /** @param {LiveResult[]} lives the newest first */
  #lives(lives) {
    const { t, format } = this;
    if (!t || !format) return null;
    const rated = lives.filter((live) => meanOfLive(live) !== null).reverse();
    const shares = rated.map((live) => shareOf(meanOfLive(live), live.scale));
    const mostNotes = Math.max(1, ...lives.map(noteCount));
    const rows = lives.map((live) => h("tr", {},
      h("th", { scope: "row", dir: "auto" }, live.title, h("span", { class: "field__hint" }, format.day(openedAt(live)))),
      this.#meanCell(meanOfLive(live), live),
      h("td", { class: "compare__bar" }, format.count(noteCount(live)), bar(noteCount(live) / mostNotes, false))));
    return h("section", { class: "section" },
      h("h3", { class: "field__label" }, t("admin.results.compare_lives")),
      shares.length > 1 ? trend(shares, { title: t("admin.results.trend_lives"), desc: this.#said(rated.map((live) => ({ live, mean: meanOfLive(live) }))) }) : null,
      this.#table([t("admin.results.live"), t("admin.mean"), t("admin.results.notes_head")], rows),
      h("p", { class: "field__hint" }, t("admin.results.compare_hint")));
  }

  /** @param {LiveResult[]} lives */
  #jeux(lives) {
    const { t } = this;
    if (!t) return null;
    const jeux = recurring(lives);
    if (jeux.length === 0) return h("p", { class: "empty" }, t("admin.results.compare_no_jeu"));
    const chosen = jeux.find(({ jeu_id: id }) => id === this.#jeu) ?? jeux[0];
    const shown = h("div", { class: "section" }, this.#points(chosen.title, chosen.points));
    const onchange = (/** @type {Event} */ event) => {
      this.#jeu = Number(/** @type {HTMLSelectElement} */ (event.target).value);
      const now = jeux.find(({ jeu_id: id }) => id === this.#jeu);
      if (now) shown.replaceChildren(...this.#points(now.title, now.points));
    };
    const options = jeux.map(({ jeu_id: id, title }) => h("option", { value: id, selected: id === chosen.jeu_id }, title));
    return h("section", { class: "section" },
      h("label", { class: "field" }, h("span", { class: "field__label" }, t("admin.results.compare_jeu")), h("select", { class: "field__input", onchange }, options)),
      shown);
  }

  /** @param {string} title @param {Point[]} points the oldest first */
  #points(title, points) {
    const { t, format } = this;
    if (!t || !format) return [];
    const rows = [...points].reverse().map(({ live, jeu }) => h("tr", {},
      h("th", { scope: "row", dir: "auto" }, live.title, h("span", { class: "field__hint" }, format.day(openedAt(live)))),
      this.#meanCell(jeu.mean, live),
      h("td", {}, format.count(jeu.voters))));
    const desc = this.#said(points.map(({ live, jeu }) => ({ live, mean: jeu.mean })));
    return [trend(points.map(({ share }) => share), { title: t("admin.results.trend_jeu", { title }), desc }), this.#table([t("admin.results.live"), t("admin.mean"), t("admin.voters")], rows)];
  }

  /** A mean says its scale, which may be another one in each live. @param {number|null} mean @param {LiveResult} live */
  #meanCell(mean, live) {
    const { t, format } = this;
    const outOf = t && format ? h("span", { class: "compare__scale" }, ` ${t("admin.results.out_of", { max: format.score(live.scale.max) })}`) : null;
    return h("td", {}, h("b", { class: "table__mean" }, format?.mean(mean, live.scale) ?? ""), outOf);
  }

  /** @param {{live: LiveResult, mean: number|null}[]} means */
  #said(means) {
    return means.map(({ live, mean }) => `${live.title}, ${this.format?.day(openedAt(live))} : ${this.format?.mean(mean, live.scale)}`).join("; ");
  }

  /** @param {string[]} head @param {HTMLElement[]} rows */
  #table(head, rows) {
    return h("table", { class: "table" }, h("thead", {}, h("tr", {}, head.map((words) => h("th", { scope: "col" }, words)))), h("tbody", {}, rows));
  }
}

define("lives-compare", LivesCompare);
