// @ts-check
/**
 * A critere drawn as its own graduated scale: one column per step on a rule of as many pieces, a pin at the mean, the column nearest to the mean in
 * the accent colour.
 */
/** @import { Critere, CritereSummary } from "../../lib/types.js" */
import { define, h } from "../../lib/dom.js";
import { columnCount, columnsOf } from "../../lib/scale.js";

export class ScaleHistogram extends HTMLElement {
  /** @type {HTMLElement[]} */
  #columns = [];
  /** @type {HTMLElement|null} */
  #pin = null;

  /**
   * @param {Critere} critere
   * @param {CritereSummary|null} summary
   */
  render(critere, summary) {
    this.#build(columnCount(critere));
    const { heights, nearest, pin } = columnsOf(critere, summary?.histogram ?? [], summary?.mean ?? null);
    this.#columns.forEach((column, index) => {
      column.style.transform = `scaleY(${heights[index].toFixed(4)})`;
      column.classList.toggle("is-nearest", index === nearest);
    });
    if (!this.#pin) return;
    this.#pin.classList.toggle("is-absent", pin === null);
    if (pin !== null) this.#pin.style.transform = `translateX(${(pin * 100).toFixed(3)}%)`;
  }

  /** @param {number} count */
  #build(count) {
    if (this.#columns.length === count) return;
    this.classList.add("scale");
    this.setAttribute("aria-hidden", "true");
    this.#columns = Array.from({ length: count }, () => h("i", { class: "scale__column" }));
    this.#pin = h("i", { class: "scale__pin is-absent" });
    this.replaceChildren(h("span", { class: "scale__columns" }, this.#columns.map((column) => h("span", { class: "scale__step" }, column))), this.#pin);
  }
}

define("scale-histogram", ScaleHistogram);
