// @ts-check
/**
 * The stage: the safe area of the picture, with one panel at a time on it. It sizes and places what is there, has the
 * old panel leave before the next one comes, and lets each moment have its movement.
 */
/** @import { Motion } from "./overlay-motion.js" */
/** @import { OverlaySettings } from "./overlay-settings.js" */
import { h } from "./dom.js";

/** Free space on each side: what lies nearer to the edge is cut by some screens. */
const MARGIN = 0.05;
/** Panels are designed for a picture this wide; a window that is at least `WHOLE` wide is taken for the whole picture. */
const DESIGN_WIDTH = 1920;
const WHOLE_WIDTH = 1200;
/** Between a panel and what accompanies it, as in styles/overlay.css. */
const GAP = 24;
/** From this width on, what accompanies a panel stands beside it. */
const BESIDE_WIDTH = 860;

/**
 * @typedef {object} Act what is to be on the stage
 * @property {string} subject another subject leaves before it comes
 * @property {HTMLElement & {fit: (width: number, height: number) => void}} panel
 * @property {string} shape what the panel's size depends on, besides the window
 * @property {string} moment
 * @property {() => void} render
 * @property {() => void} enter movement of the panel's content when it comes
 * @property {(from: string) => void} change movement when another moment begins
 */

export class OverlayStage {
  /** @type {Act|null} */
  #act = null;
  /** @type {Act|null} what comes when the leaving is over */
  #next = null;
  #leaving = false;
  #placed = "";

  /**
   * @param {OverlaySettings} settings
   * @param {Motion} motion
   * @param {HTMLElement} tag says when numbers are not real
   * @param {HTMLElement} aside stands by the panel
   */
  constructor(settings, motion, tag, aside) {
    this.settings = settings;
    this.motion = motion;
    this.tag = tag;
    this.aside = aside;
    this.box = h("div", { class: "overlay__panel", hidden: true });
    this.element = h("div", { class: "overlay__stage", "data-pos": settings.pos, hidden: true }, this.box, aside);
  }

  /** @param {Act|null} act */
  show(act) {
    this.#next = act;
    if (this.#leaving) return;
    if (this.#act && this.#act.subject !== act?.subject) {
      this.#leave();
      return;
    }
    if (act) this.#render(act);
    this.place();
  }

  #leave() {
    if (!this.motion.on) {
      this.#clear();
      return;
    }
    this.#leaving = true;
    this.motion.leave(this.box).then(() => {
      this.#leaving = false;
      this.#clear();
    });
  }

  #clear() {
    this.#act = null;
    this.box.hidden = true;
    this.motion.settle(this.box);
    this.show(this.#next);
  }

  /** @param {Act} act */
  #render(act) {
    const before = this.#act;
    this.#act = act;
    act.render();
    if (before) {
      if (before.moment !== act.moment) act.change(before.moment);
      return;
    }
    if (this.box.lastElementChild !== act.panel) this.box.replaceChildren(this.tag, act.panel);
    this.box.hidden = false;
    this.motion.rise(this.box);
    act.enter();
  }

  /** Sizes and places what is on stage, when something changed that it depends on. */
  place(anew = false) {
    const { innerWidth, innerHeight } = window;
    this.element.hidden = this.box.hidden && this.aside.hidden;
    if (this.element.hidden) return;
    const shape = [innerWidth, innerHeight, this.#act?.shape, this.box.hidden, this.aside.hidden, this.tag.hidden].join("|");
    if (shape === this.#placed && !anew) return;
    this.#placed = shape;
    const { element, box, aside } = this;
    const factor = this.settings.scale * (innerWidth >= WHOLE_WIDTH ? innerWidth / DESIGN_WIDTH : 1);
    const [left, top] = [innerWidth * MARGIN, innerHeight * MARGIN];
    const [width, height] = [(innerWidth - 2 * left) / factor, (innerHeight - 2 * top) / factor];
    element.style.width = `${width}px`;
    element.style.height = `${height}px`;
    element.style.transform = `translate(${left}px, ${top}px) scale(${factor})`;
    element.classList.toggle("is-beside", width >= BESIDE_WIDTH && this.settings.theme === "card");
    element.classList.remove("is-crowded");
    box.style.transform = box.style.marginTop = box.style.marginBottom = "";
    if (box.hidden) return;
    this.#act?.panel.fit(width, height);
    const isStacked = !aside.hidden && !element.classList.contains("is-beside");
    const room = () => height - (isStacked ? aside.offsetHeight + GAP : 0);
    if (isStacked && box.offsetHeight > room()) element.classList.add("is-crowded");
    this.#shrink(Math.min(1, room() / box.offsetHeight, width / box.offsetWidth));
  }

  /** Makes the panel smaller, and gives the room it leaves to what stands above or below it. @param {number} factor */
  #shrink(factor) {
    if (factor === 1) return;
    const { box } = this;
    const { pos } = this.settings;
    const left = (1 - factor) * box.offsetHeight;
    box.style.transform = `scale(${factor.toFixed(4)})`;
    if (!pos.startsWith("t")) box.style.marginTop = `${-left / (pos.startsWith("b") ? 1 : 2)}px`;
    if (!pos.startsWith("b")) box.style.marginBottom = `${-left / (pos.startsWith("t") ? 1 : 2)}px`;
  }
}
