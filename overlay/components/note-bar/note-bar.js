// @ts-check
/** What became of my note: one line that stays in view, with a way to take the note back. */
import { define, h, icon, setText } from "../../lib/dom.js";

/**
 * @typedef {'none'|'offline'|'incomplete'|'sending'|'kept'|'saved'|'withdrawn'|'refused'|'final'} NoteStatus
 * @typedef {{status: NoteStatus, words: string, mine: string, canWithdraw: boolean}} BarView
 */

export class NoteBar extends HTMLElement {
  /**
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {() => void} onWithdraw
   */
  setUp(t, onWithdraw) {
    this.classList.add("note-bar");
    this.words = h("span", { class: "note-bar__words" });
    this.mine = h("span", { class: "note-bar__mine" });
    this.withdraw = h("button", { type: "button", class: "note-bar__withdraw", hidden: true, onclick: onWithdraw }, t("viewer.withdraw"));
    this.replaceChildren(icon("check"), this.words, this.withdraw, this.mine);
    return this;
  }

  /** @param {BarView} view */
  render({ status, words, mine, canWithdraw }) {
    if (!this.words || !this.mine || !this.withdraw) return;
    this.dataset.status = status;
    setText(this.words, words);
    setText(this.mine, mine);
    this.withdraw.hidden = !canWithdraw;
  }
}

define("note-bar", NoteBar);
