// @ts-check
/** The other jeux of the live: where each stands, its mean, my note; one looks at any that was opened. */
import { define, h, rebuild } from "../../lib/dom.js";

/**
 * @typedef {object} StripRow
 * @property {number} jeu_id
 * @property {string} title
 * @property {string} words
 * @property {string} mean
 * @property {boolean} current
 * @property {boolean} chosen
 * @property {boolean} reachable
 */

export class JeuStrip extends HTMLElement {
  /**
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {(jeuId: number) => void} onChoose
   */
  setUp(t, onChoose) {
    this.classList.add("strip");
    this.onChoose = onChoose;
    this.list = h("ol", { class: "strip__list" });
    this.replaceChildren(h("h2", { class: "strip__title" }, t("viewer.programme")), this.list);
    return this;
  }

  /** @param {StripRow[]} rows */
  render(rows) {
    if (!this.list) return;
    rebuild(this.list, JSON.stringify(rows), () => rows.map((row, index) => this.#row(row, index + 1)));
  }

  /** @param {StripRow} row @param {number} place */
  #row(row, place) {
    const inside = [
      h("span", { class: "strip__place" }, place),
      h("span", { class: "strip__name", dir: "auto" }, row.title),
      h("span", { class: "strip__words" }, row.words),
      h("span", { class: "strip__mean" }, row.mean),
    ];
    const attributes = { class: "strip__row", "aria-current": row.chosen ? "true" : false, "data-focus": String(row.jeu_id) };
    const onclick = () => this.onChoose?.(row.jeu_id);
    return h(
      "li",
      { class: row.current ? "strip__item is-current" : "strip__item" },
      row.reachable ? h("button", { type: "button", ...attributes, onclick }, inside) : h("div", attributes, inside),
    );
  }
}

define("jeu-strip", JeuStrip);
