// @ts-check
/**
 * One critere to rate: a group of native radio buttons (or a slider where there are many steps) over its histogram, the
 * words of its ends, and "sans avis".
 */
/** @import { Critere, CritereSummary } from "../../lib/types.js" */
import { define, h, setText } from "../../lib/dom.js";
import { columnsOf, scoresOf, usesSlider } from "../../lib/scale.js";
import { ScaleHistogram } from "../scale-histogram/scale-histogram.js";

/** Value of the radio button for "sans avis". */
const NO_OPINION = "";

/**
 * @typedef {object} FieldView
 * @property {number|undefined} score chosen; undefined: none
 * @property {boolean} abstained whether "sans avis" is chosen
 * @property {CritereSummary|null} summary
 * @property {string} meanWords "moyenne 4,6" or what stands for it
 * @property {boolean} locked whether the jeu takes no notes now
 */

export class CritereField extends HTMLElement {
  /**
   * @param {Critere} critere
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {import("../../lib/format.js").Format} format
   * @param {(key: string, score: number|null) => void} onChoose
   */
  setUp(critere, t, format, onChoose) {
    this.critere = critere;
    this.t = t;
    this.format = format;
    this.onChoose = onChoose;
    this.classList.add("critere");
    this.dataset.critere = critere.key;
    this.mean = h("span", { class: "critere__mean" });
    const label = t.own(critere.labels);
    this.group = h(
      "fieldset",
      { class: "critere__group" },
      h("legend", { class: "critere__legend" }, h("span", { class: "critere__label", dir: "auto" }, label)),
      usesSlider(critere) ? this.#slider(label) : this.#buttons(),
      h(
        "div",
        { class: "critere__ends" },
        h("span", { class: "critere__end", dir: "auto" }, t.own(critere.low)),
        critere.optional && !usesSlider(critere) ? this.#radio(NO_OPINION, t("viewer.no_opinion"), "critere__none") : this.none ?? null,
        h("span", { class: "critere__end", dir: "auto" }, t.own(critere.high)),
      ),
    );
    this.replaceChildren(this.group, this.mean);
    return this;
  }

  #buttons() {
    const { critere, t, format } = this;
    if (!critere || !t || !format) return null;
    const scores = scoresOf(critere);
    const words = (/** @type {number} */ index) =>
      index === 0 ? t.own(critere.low) : index === scores.length - 1 ? t.own(critere.high) : "";
    const steps = scores.map((score, index) => {
      const text = format.score(score);
      const end = words(index);
      return this.#radio(String(score), text, "step", end ? `${text}, ${end}` : text);
    });
    const classes = scores.length > 6 ? "critere__steps is-many" : "critere__steps";
    return h("div", { class: classes }, steps);
  }

  /**
   * @param {string} value
   * @param {string} text
   * @param {string} classes
   * @param {string} [spoken]
   */
  #radio(value, text, classes, spoken) {
    const input = h("input", {
      type: "radio",
      name: `critere-${this.critere?.key}`,
      value,
      class: "step__input",
      "aria-label": spoken,
      onchange: () => this.onChoose?.(this.critere?.key ?? "", value === NO_OPINION ? null : Number(value)),
    });
    input.value = value;
    const column = value === NO_OPINION ? null : h("i", { class: "step__column" });
    return h("label", { class: classes }, input, column, h("span", { class: "step__text" }, text));
  }

  /** @param {string} label */
  #slider(label) {
    const { critere, t } = this;
    if (!critere || !t) return null;
    this.range = h("input", {
      type: "range",
      class: "critere__range",
      min: critere.min,
      max: critere.max,
      step: critere.step,
      "aria-label": label,
      "data-focus": critere.key,
      oninput: () => this.#showRange(Number(this.range?.value)),
      onchange: () => this.#slide(),
      // Where the thumb waits is a score, too: a tap on it, or a key, chooses what no change would tell of.
      onclick: () => this.unset && this.#slide(),
      onkeydown: (/** @type {KeyboardEvent} */ { key }) => this.unset && (key === "Enter" || key === " ") && this.#slide(),
    });
    this.output = h("output", { class: "critere__output" });
    this.histogram = new ScaleHistogram();
    if (critere.optional) {
      this.none = h(
        "button",
        { type: "button", class: "critere__none is-button", "aria-pressed": "false", onclick: () => this.onChoose?.(critere.key, null) },
        h("span", { class: "step__text" }, t("viewer.no_opinion")),
      );
    }
    return h("div", { class: "critere__slider" }, this.histogram, this.range, this.output);
  }

  #slide() {
    this.unset = false;
    this.onChoose?.(this.critere?.key ?? "", Number(this.range?.value));
  }

  /** @param {number|undefined} score */
  #showRange(score) {
    if (!this.range || !this.output || !this.format || !this.t) return;
    const text = score === undefined ? this.t("viewer.not_rated") : this.format.score(score);
    setText(this.output, text);
    this.range.setAttribute("aria-valuetext", text);
    this.range.classList.toggle("is-unset", score === undefined);
  }

  /** @param {FieldView} view */
  render(view) {
    const { critere } = this;
    if (!critere || !this.mean || !this.group) return;
    setText(this.mean, view.meanWords);
    this.group.disabled = view.locked;
    if (this.range) this.#renderSlider(view);
    else this.#renderButtons(view);
  }

  /** @param {FieldView} view */
  #renderSlider({ score, abstained, summary }) {
    if (!this.range || !this.critere) return;
    const dragging = this.range.matches(":active");
    if (!dragging) {
      const scores = scoresOf(this.critere);
      const middle = scores[Math.floor(scores.length / 2)];
      this.unset = score === undefined;
      this.range.value = String(score ?? middle);
      this.#showRange(score);
    }
    this.none?.setAttribute("aria-pressed", String(abstained));
    this.histogram?.render(this.critere, summary);
  }

  /** @param {FieldView} view */
  #renderButtons({ score, abstained, summary }) {
    if (!this.critere) return;
    const { heights, nearest } = columnsOf(this.critere, summary?.histogram ?? [], summary?.mean ?? null);
    const wanted = abstained ? NO_OPINION : score === undefined ? null : String(score);
    this.querySelectorAll("input").forEach((input, index) => {
      input.checked = input.value === wanted;
      const column = input.parentElement?.getElementsByClassName("step__column")[0];
      if (!(column instanceof HTMLElement)) return;
      column.style.transform = `scaleY(${(heights[index] * 0.75).toFixed(3)})`;
      column.classList.toggle("is-nearest", index === nearest);
    });
  }
}

define("critere-field", CritereField);
