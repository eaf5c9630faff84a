// @ts-check
/**
 * The card theme of the overlay: title, overall mean, and each critere as its own scale. Its structure is built once per
 * live; afterwards only texts and transforms change.
 */
/** @import { Critere, LiveState, ProgrammeEntry, TallyFrame } from "../../lib/types.js" */
import { define, h, rebuild, setText } from "../../lib/dom.js";
import { momentWords } from "../../lib/phase-words.js";
import { votesWords } from "../../lib/tally-words.js";
import { NO_NUMBER } from "../../lib/format.js";
import { Gliding } from "../../lib/gliding.js";
import { ScaleHistogram } from "../scale-histogram/scale-histogram.js";

/** More criteres than this stand in two columns. */
const ONE_COLUMN = 6;

/**
 * @typedef {object} CardView
 * @property {LiveState} live
 * @property {ProgrammeEntry} entry
 * @property {TallyFrame|null} tally
 * @property {import("../../lib/phase-words.js").Moment} moment
 * @property {number} msLeft
 * @property {boolean} stale
 * @property {string[]|null} criteres keys to show; null for all
 * @property {boolean} motion
 */

export class OverlayCard extends HTMLElement {
  /** @param {import("../../lib/i18n.js").Texts} t @param {import("../../lib/format.js").Format} format */
  setUp(t, format) {
    this.t = t;
    this.format = format;
    this.classList.add("card");
    this.phase = h("span", { class: "card__phase" });
    this.votes = h("span", { class: "card__votes" });
    this.jeuTitle = h("h1", { class: "card__title", dir: "auto" });
    this.mean = h("span", { class: "card__mean" });
    this.outOf = h("span", { class: "card__scale" });
    this.rows = h("div", { class: "card__criteres" });
    this.line = h("i", { class: "card__line" });
    this.replaceChildren(
      h("p", { class: "card__head" }, h("i", { class: "card__dot" }), this.phase, this.votes),
      this.jeuTitle,
      h("p", { class: "card__overall" }, this.mean, this.outOf),
      this.rows,
      this.line,
    );
    this.gliding = new Gliding((value) => setText(/** @type {Element} */ (this.mean), this.meanText(value)));
    return this;
  }

  /** @param {number|null} value */
  meanText(value) {
    return this.live && this.format ? this.format.mean(value, this.live.scale) : NO_NUMBER;
  }

  /** @param {CardView} view */
  render(view) {
    const { t, format } = this;
    if (!t || !format || !this.phase || !this.votes || !this.jeuTitle || !this.outOf || !this.rows) return;
    const { live, entry, tally, moment, stale } = view;
    this.live = live;
    this.dataset.moment = moment;
    this.dataset.jeu = String(entry.jeu_id);
    this.classList.toggle("is-stale", stale);
    setText(this.phase, stale ? t("link.reconnecting") : momentWords(moment, view.msLeft, t, format));
    setText(this.votes, votesWords(tally, live, t, format));
    setText(this.jeuTitle, entry.title);
    setText(this.outOf, t("overlay.out_of", { max: format.score(live.scale.max) }));
    this.gliding?.to(tally?.mean ?? null, view.motion, String(entry.jeu_id));
    this.#renderCriteres(view);
  }

  /** @param {CardView} view */
  #renderCriteres({ live, tally, criteres }) {
    const { t, format, rows } = this;
    if (!t || !format || !rows) return;
    const shown = live.bareme.criteres.filter(({ key }) => criteres === null || criteres.includes(key));
    this.classList.toggle("is-wide", shown.length > ONE_COLUMN);
    rebuild(rows, JSON.stringify([live.live_id, shown]), () => shown.map((critere) => this.#row(critere)));
    shown.forEach((critere, index) => {
      const summary = tally?.criteres.find(({ key }) => key === critere.key) ?? null;
      const row = rows.children[index];
      setText(row.getElementsByClassName("card__critere-mean")[0], format.mean(summary?.mean, critere));
      const scale = row.lastElementChild;
      if (scale instanceof ScaleHistogram) scale.render(critere, summary);
    });
  }

  /** @param {Critere} critere */
  #row(critere) {
    return h(
      "div",
      { class: "card__critere", "data-critere": critere.key },
      h("span", { class: "card__critere-label", dir: "auto" }, this.t?.own(critere.labels) ?? critere.key),
      h("span", { class: "card__critere-mean" }),
      new ScaleHistogram(),
    );
  }
}

define("overlay-card", OverlayCard);
