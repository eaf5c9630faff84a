// @ts-check
/** The keyboard shortcuts, over the page. */
import { define, h } from "../../lib/dom.js";

/** @type {[string, string][]} keys and what they do, in the order of a show */
const KEYS = [
  ["N", "admin.help.next"],
  ["O", "admin.help.open_votes"],
  ["F", "admin.help.close"],
  ["U", "admin.help.undo"],
  ["R", "admin.help.reopen"],
  ["1–9", "admin.help.digits"],
  ["E", "admin.help.end"],
  ["T", "admin.help.test"],
  ["P", "admin.help.prepare"],
  ["Alt ↑ ↓", "admin.help.move"],
  ["?", "admin.help.help"],
];

export class AdminHelp extends HTMLElement {
  /** @param {import("../../lib/i18n.js").Texts} t */
  setUp(t) {
    const close = () => this.dialog?.close();
    this.dialog = h("dialog", { class: "help", "aria-labelledby": "help-title" },
      h("div", { class: "help__top" }, h("h2", { id: "help-title" }, t("admin.help.title")), h("button", { type: "button", class: "button is-small", onclick: close }, t("admin.help.close_help"))),
      h("dl", { class: "help__keys" }, KEYS.map(([key, words]) => h("div", { class: "help__row" }, h("dt", {}, h("kbd", { class: "cap" }, key)), h("dd", {}, t(words))))),
      h("p", { class: "field__hint" }, t("admin.help.note")));
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && close());
    this.replaceChildren(this.dialog);
    return this;
  }

  toggle() {
    const { dialog } = this;
    if (!dialog) return;
    if (dialog.open) dialog.close();
    else dialog.showModal();
  }
}

define("admin-help", AdminHelp);
