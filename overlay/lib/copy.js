// @ts-check
/**
 * Text to copy, and secrets that hide themselves: this page gets streamed by accident. A secret is shown for a few
 * seconds, and hides at once when it leaves the screen or the browser's tab is left. Copying does not show it.
 */
import { h, icon } from "./dom.js";

const SAID_MS = 2_000;
const SHOWN_MS = 8_000;
const DOTS = "•".repeat(12);

/** @typedef {string|(() => string)} Source what to copy, or where it comes from at that moment */

/** @param {Source} source */
const textOf = (source) => (typeof source === "string" ? source : source());

/**
 * @param {import("./i18n.js").Texts} t
 * @param {Source} source
 * @param {{label?: string, class?: string, name?: string}} [options] `name` says to a screen reader what is copied
 */
export function copyButton(t, source, { label = t("admin.copy"), class: classes = "is-link", name } = {}) {
  const words = h("span", { "aria-live": "polite" }, label);
  const about = name ? h("span", { class: "sr-only" }, ` ${name}`) : null;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  let calming;
  const onclick = async () => {
    words.textContent = t((await copyText(textOf(source))) ? "admin.copied" : "admin.copy_failed");
    clearTimeout(calming);
    calming = setTimeout(() => (words.textContent = label), SAID_MS);
  };
  return h("button", { type: "button", class: `button is-small ${classes}`, onclick }, icon("copy"), words, about);
}

/** @param {string} text @returns {Promise<boolean>} whether it is in the clipboard now */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Plain HTTP on a LAN has no clipboard: the old way needs a selected field.
    const area = h("textarea", { class: "sr-only", value: text });
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (focused instanceof HTMLElement) focused.focus();
    return done;
  }
}

/**
 * A line with a text that can be copied.
 *
 * @param {string} label
 * @param {Source} source
 * @param {boolean} secret
 * @param {import("./i18n.js").Texts} t
 * @param {...(Node|null)} more further buttons
 */
export function copyLine(label, source, secret, t, ...more) {
  const shown = h("code", { class: "copy__text" }, secret ? DOTS : textOf(source));
  const eye = secret ? revealButton(shown, source, label, t) : null;
  return h("div", { class: `copy${secret ? " is-secret" : ""}` }, h("span", { class: "copy__label" }, label), shown, eye, copyButton(t, source, { name: label }), ...more);
}

/**
 * @param {HTMLElement} shown
 * @param {Source} source
 * @param {string} label
 * @param {import("./i18n.js").Texts} t
 */
function revealButton(shown, source, label, t) {
  /** @type {AbortController|null} */
  let revealed = null;
  const hide = () => {
    revealed?.abort();
    revealed = null;
    shown.textContent = DOTS;
    shown.classList.remove("is-revealed");
    button.setAttribute("aria-pressed", "false");
  };
  const reveal = () => {
    revealed = new AbortController();
    const { signal } = revealed;
    shown.textContent = textOf(source);
    shown.classList.add("is-revealed");
    button.setAttribute("aria-pressed", "true");
    const timer = setTimeout(hide, SHOWN_MS);
    const seen = new IntersectionObserver((entries) => entries.some((entry) => !entry.isIntersecting) && hide());
    seen.observe(shown);
    document.addEventListener("visibilitychange", hide, { signal });
    window.addEventListener("pagehide", hide, { signal });
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      seen.disconnect();
    });
  };
  const words = h("span", { class: "sr-only" }, `${t("admin.reveal")} ${label}`);
  const button = h("button", { type: "button", class: "button is-small is-icon is-bare", "aria-pressed": "false", title: t("admin.reveal"), onclick: () => (revealed ? hide() : reveal()) }, icon("eye"), words);
  return button;
}
