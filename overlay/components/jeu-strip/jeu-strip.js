// @ts-check
/** The jeux of the live, in their order while it is on air and best first once it is over; one looks at any of them. */
import { define, h, rebuild, setText } from "../../lib/dom.js";

/**
 * @typedef {object} StripRow
 * @property {number} jeu_id
 * @property {string} place
 * @property {string} title
 * @property {import("../../lib/types.js").Phase} phase
 * @property {string} words where it stands
 * @property {string} mine my note in words, or nothing
 * @property {string} mean
 * @property {number|null} share length of its bar, 0 to 1; null for none
 * @property {boolean} current
 * @property {boolean} chosen
 * @property {boolean} reachable
 */

export class JeuStrip extends HTMLElement {
  /** @param {(jeuId: number) => void} onChoose */
  setUp(onChoose) {
    this.classList.add("strip");
    this.onChoose = onChoose;
    this.heading = h("h2", { class: "strip__title" });
    this.list = h("ol", { class: "strip__list" });
    this.replaceChildren(this.heading, this.list);
    return this;
  }

  /** @param {string} title @param {StripRow[]} rows @param {boolean} isRanking */
  render(title, rows, isRanking) {
    const { list, heading } = this;
    if (!list || !heading) return;
    setText(heading, title);
    this.classList.toggle("is-ranking", isRanking);
    // Rows keep their elements while numbers change, so that bars grow and a finger meets what it aimed at.
    const shape = JSON.stringify([isRanking, rows.map(({ jeu_id, title: name, reachable }) => [jeu_id, name, reachable])]);
    rebuild(list, shape, () => rows.map((row) => this.#row(row, isRanking)));
    rows.forEach((row, index) => this.#fill(list.children[index], row));
  }

  /** @param {StripRow} row @param {boolean} isRanking */
  #row(row, isRanking) {
    const inside = [
      h("span", { class: "strip__place" }),
      h("span", { class: "strip__name", dir: "auto" }, row.title),
      h("span", { class: "strip__mean" }),
      isRanking ? h("span", { class: "strip__bar" }, h("i", { class: "strip__fill" })) : null,
      h("span", { class: "strip__words" }),
      h("span", { class: "strip__mine" }),
    ];
    const attributes = { class: "strip__row", "data-focus": String(row.jeu_id) };
    const onclick = () => this.onChoose?.(row.jeu_id);
    return h("li", { class: "strip__item" }, row.reachable ? h("button", { type: "button", ...attributes, onclick }, inside) : h("div", attributes, inside));
  }

  /** @param {Element} item @param {StripRow} row */
  #fill(item, row) {
    item.setAttribute("data-phase", row.phase);
    item.classList.toggle("is-current", row.current);
    item.classList.toggle("is-best", row.place === "1");
    const inside = item.children[0];
    if (row.chosen) inside.setAttribute("aria-current", "true");
    else inside.removeAttribute("aria-current");
    for (const part of /** @type {const} */ (["place", "mean", "words", "mine"])) {
      const shown = inside.getElementsByClassName(`strip__${part}`)[0];
      if (shown) setText(shown, row[part]);
    }
    const fill = inside.getElementsByClassName("strip__fill")[0];
    fill?.parentElement?.classList.toggle("is-none", row.share === null);
    if (fill instanceof HTMLElement) fill.style.transform = `scaleX(${(row.share ?? 0).toFixed(4)})`;
  }
}

define("jeu-strip", JeuStrip);
