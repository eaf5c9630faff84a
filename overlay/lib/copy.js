// @ts-check
/** A line with an address that can be copied, and hidden where it is a secret: this page gets streamed by accident. */
import { h, icon } from "./dom.js";

const SAID_MS = 2_000;

/**
 * @param {string} label
 * @param {string} text
 * @param {boolean} secret
 * @param {import("./i18n.js").Texts} t
 */
export function copyLine(label, text, secret, t) {
  const shown = h("code", { class: "copy__text" });
  let hidden = secret;
  const show = () => (shown.textContent = hidden ? "•".repeat(24) : text);
  show();
  const words = h("span", {}, t("admin.copy"));
  const copy = h("button", { type: "button", class: "button is-small", onclick: () => copyText(text, words, t) }, icon("copy"), words);
  const reveal = () => {
    hidden = !hidden;
    eye?.setAttribute("aria-pressed", String(!hidden));
    show();
  };
  const eye = secret
    ? h("button", { type: "button", class: "button is-small is-icon", "aria-pressed": "false", title: t("admin.reveal"), onclick: reveal }, icon("eye"), h("span", { class: "sr-only" }, t("admin.reveal")))
    : null;
  return h("div", { class: "copy" }, h("span", { class: "copy__label" }, label), shown, eye, copy);
}

/**
 * @param {string} text
 * @param {HTMLElement} words
 * @param {import("./i18n.js").Texts} t
 */
async function copyText(text, words, t) {
  try {
    await navigator.clipboard.writeText(text);
    words.textContent = t("admin.copied");
  } catch {
    // Plain HTTP on a LAN has no clipboard: the old way needs a selected field.
    const area = h("textarea", { class: "sr-only", value: text });
    document.body.append(area);
    area.select();
    words.textContent = document.execCommand("copy") ? t("admin.copied") : t("admin.copy_failed");
    area.remove();
  }
  setTimeout(() => (words.textContent = t("admin.copy")), SAID_MS);
}
