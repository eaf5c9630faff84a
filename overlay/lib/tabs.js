// @ts-check
/** Tabs as ARIA describes them: one is in the order of Tab, the arrows go to the others. */
import { h } from "./dom.js";

/** @typedef {{name: string, label: string, nodes: HTMLElement[]}} Tab */

export class Tabs {
  /**
   * @param {string} label of all
   * @param {Tab[]} tabs
   * @param {(name: string) => void} onOpen
   */
  constructor(label, tabs, onOpen) {
    this.onOpen = onOpen;
    this.current = tabs[0].name;
    this.buttons = tabs.map(({ name, label: words }) =>
      h("button", { type: "button", role: "tab", id: `tab-${name}`, class: "tabs__tab", "data-tab": name, "aria-controls": `panel-${name}`, onclick: () => this.open(name) }, words));
    this.panels = tabs.map(({ name, nodes }) =>
      h("section", { class: "panel", role: "tabpanel", id: `panel-${name}`, "data-panel": name, "aria-labelledby": `tab-${name}`, tabindex: -1 }, nodes));
    this.bar = h("div", { class: "tabs", role: "tablist", "aria-label": label, onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event) }, this.buttons);
    this.#show();
  }

  /** @param {string} name */
  panel(name) {
    return /** @type {HTMLElement} */ (this.panels.find((panel) => panel.dataset.panel === name));
  }

  /** @param {string} name @param {boolean} [withFocus] */
  open(name, withFocus = false) {
    const button = this.buttons.find(({ dataset }) => dataset.tab === name);
    if (!button || button.hidden) return;
    this.current = name;
    this.#show();
    if (withFocus) button.focus();
    this.onOpen(name);
  }

  /** Takes a tab out, or puts it back. @param {string} name @param {boolean} isHidden */
  hide(name, isHidden) {
    const button = this.buttons.find(({ dataset }) => dataset.tab === name);
    if (!button || button.hidden === isHidden) return;
    button.hidden = isHidden;
    if (isHidden && this.current === name) this.open(this.#shown()[0].dataset.tab ?? "");
  }

  #shown() {
    return this.buttons.filter((button) => !button.hidden);
  }

  #show() {
    for (const button of this.buttons) {
      const isCurrent = button.dataset.tab === this.current;
      button.setAttribute("aria-selected", String(isCurrent));
      button.tabIndex = isCurrent ? 0 : -1;
    }
    for (const panel of this.panels) panel.hidden = panel.dataset.panel !== this.current;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const shown = this.#shown();
    const at = shown.findIndex(({ dataset }) => dataset.tab === this.current);
    const last = shown.length - 1;
    const to = { ArrowLeft: at === 0 ? last : at - 1, ArrowRight: at === last ? 0 : at + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.open(shown[to].dataset.tab ?? "", true);
  }
}
