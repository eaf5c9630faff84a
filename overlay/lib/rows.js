// @ts-check
/** Rows of the studio's lists. */
import { h } from "./dom.js";

/** A name that somebody typed, with what is to be known about it below. @param {string} name @param {string} hint */
export function nameAndHint(name, hint) {
  return h("div", { class: "key__name" }, h("b", { dir: "auto" }, name), h("span", { class: "field__hint" }, hint));
}
