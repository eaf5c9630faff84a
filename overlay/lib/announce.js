// @ts-check
/** What is said apart from the place it is about: to screen readers only, or over the page. */
import { h } from "./dom.js";

/** @type {HTMLElement|undefined} */
let region;

/** Says something to screen readers that shows on screen by itself. @param {string} words */
export function announce(words) {
  if (!region) {
    region = h("p", { class: "sr-only", role: "status" });
    document.body.append(region);
  }
  // The same words twice in a row are news as well.
  region.textContent = region.textContent === words ? `${words}\u00a0` : words;
}

/** How long words stay over the page. */
const SHOWN_MS = 8_000;

/** Shows what went wrong when the place it belongs to is gone by then. @param {string} words */
export function showOver(words) {
  const note = h("p", { class: "over", role: "alert" });
  document.body.append(note);
  // A screen reader hears of what comes into an alert, not of an alert that comes with its words.
  note.textContent = words;
  setTimeout(() => note.remove(), SHOWN_MS);
}
