// @ts-check
/** Groups of radio buttons that look like one control. */
import { h } from "./dom.js";

let groups = 0;

/**
 * @template {string} V
 * @typedef {{value: V, label: string, picture?: Node}} Option a picture hides the label from eyes, not from screen readers
 */

/**
 * @template {string} V
 * @param {string} legend
 * @param {Option<V>[]} options
 * @param {V} value
 * @param {(value: V) => void} onChoose
 * @param {string} [classes]
 */
export function choices(legend, options, value, onChoose, classes = "is-segmented") {
  groups += 1;
  const name = `choices-${groups}`;
  const labels = options.map((option) => {
    const input = h("input", { type: "radio", name, value: option.value, checked: option.value === value, onchange: () => onChoose(option.value) });
    const words = h("span", { class: option.picture ? "sr-only" : "choices__label" }, option.label);
    return h("label", { class: "choices__option", title: option.picture ? option.label : false }, input, option.picture ?? null, words);
  });
  return h("fieldset", { class: `choices ${classes}` }, h("legend", { class: "field__label" }, legend), h("div", { class: "choices__options" }, labels));
}
