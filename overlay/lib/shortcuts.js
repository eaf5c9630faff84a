// @ts-check
/**
 * Keyboard shortcuts: a key presses the button that shows it, so that it can do what the button can, asks what the
 * button asks, and is off whenever the button is.
 */
import { h } from "./dom.js";

/** The mark of a key on what it presses. @param {string} key */
export function keyCap(key) {
  return h("kbd", { class: "cap", "aria-hidden": "true" }, key.toUpperCase());
}

/**
 * The shortcut a key press means, or nothing: keys of somebody who types, held keys and chords mean none. Letters go by
 * what is printed on the key; digits by its place, because on AZERTY they need Shift.
 *
 * @param {Pick<KeyboardEvent, 'key'|'code'|'ctrlKey'|'altKey'|'metaKey'|'shiftKey'|'repeat'|'defaultPrevented'>} event
 */
export function shortcutOf(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.defaultPrevented) return "";
  if (event.key === "?") return "?";
  const [, digit] = event.code.match(/^(?:Digit|Numpad)([1-9])$/) ?? [];
  if (digit) return digit;
  return !event.shiftKey && /^[a-z]$/i.test(event.key) ? event.key.toLowerCase() : "";
}

/** @param {EventTarget|null} target */
function isTyping(target) {
  return target instanceof HTMLElement && target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]") !== null;
}

/**
 * Listens to the whole page.
 *
 * @param {() => void} onHelp the key "?"
 */
export function listenForShortcuts(onHelp) {
  document.addEventListener("keydown", (event) => {
    const key = isTyping(event.target) ? "" : shortcutOf(event);
    if (!key) return;
    if (key === "?") return onHelp();
    if (document.querySelector("dialog[open]")) return;
    const buttons = [...document.querySelectorAll(`[data-key="${key}"]`)];
    const button = buttons.find((found) => found.checkVisibility() && !found.matches(":disabled"));
    if (!(button instanceof HTMLElement)) return;
    event.preventDefault();
    button.click();
  });
}
