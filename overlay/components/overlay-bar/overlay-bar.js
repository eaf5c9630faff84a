// @ts-check
/** A mean as the length of a bar on its scale, with a graduation at each step where there are few. */
/** @import { Critere, CritereSummary, Scale } from "../../lib/types.js" */
import { define, h } from "../../lib/dom.js";
import { stepCount } from "../../lib/scale.js";

/** More graduations than this are a pattern and no scale. */
const MOST_TICKS = 10;

export class OverlayBar extends HTMLElement {
  /** @type {HTMLElement|null} */
  #fill = null;
  #ticks = -1;

  /**
   * @param {Critere} critere
   * @param {CritereSummary|null} summary
   */
  render(critere, summary) {
    this.show(critere, summary?.mean ?? null, stepCount(critere));
  }

  /**
   * @param {Scale} scale
   * @param {number|null} mean
   * @param {number} steps
   */
  show({ min, max }, mean, steps) {
    this.#build(steps > MOST_TICKS ? 0 : steps);
    const length = mean === null ? 0 : Math.min(1, Math.max(0, (mean - min) / (max - min)));
    if (this.#fill) this.#fill.style.transform = `scaleX(${length.toFixed(4)})`;
  }

  /** @param {number} steps */
  #build(steps) {
    if (this.#ticks === steps) return;
    this.#ticks = steps;
    this.setAttribute("aria-hidden", "true");
    this.#fill = h("i", { class: "bar__fill" });
    const ticks = Array.from({ length: steps }, () => h("i", { class: "bar__tick" }));
    this.replaceChildren(h("span", { class: "bar__track" }, this.#fill), h("span", { class: "bar__ticks" }, ticks));
  }
}

define("overlay-bar", OverlayBar);
