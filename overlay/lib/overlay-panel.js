// @ts-check
/**
 * What the themes have in common: title, gliding mean, votes, phase, the line that runs out. A theme says where they
 * stand, and draws its criteres. The structure is built once; afterwards only texts and transforms change.
 */
/** @import { Critere, CritereSummary, LiveState } from "./types.js" */
/** @import { JeuScene } from "./overlay-scene.js" */
/** @import { Motion } from "./overlay-motion.js" */
import { h, rebuild, setText } from "./dom.js";
import { NO_NUMBER } from "./format.js";
import { Gliding } from "./gliding.js";
import { shownCriteres } from "./overlay-settings.js";
import { comingWords, maskedWords } from "./overlay-words.js";
import { momentWords } from "./phase-words.js";
import { votesWords } from "./tally-words.js";

/**
 * @typedef {object} Kit what every panel is made with
 * @property {import("./i18n.js").Texts} t
 * @property {import("./format.js").Format} format
 * @property {Motion} motion
 * @property {string[]|null} criteres keys of those to show
 *
 * @typedef {HTMLElement & {render: (critere: Critere, summary: CritereSummary|null) => void}} Drawing
 * @typedef {{element: HTMLElement, mean: Element, drawing: Drawing}} CritereRow
 */

export class OverlayPanel extends HTMLElement {
  /** Prefix of the theme's class names. */
  theme = "panel";
  /** How the theme says the end of the scale. */
  outOfKey = "overlay.out_of";
  /** @type {LiveState|null} */
  live = null;
  /** @type {CritereRow[]} */
  #rows = [];
  #deadline = 0;
  #fullMs = 1;
  /** @type {Animation|null} the line running out */
  #running = null;

  /** @param {Kit} kit */
  setUp(kit) {
    this.kit = kit;
    this.classList.add("panel", this.theme);
    this.dot = this.piece("i", "dot");
    this.phase = this.piece("span", "phase");
    this.votes = this.piece("span", "votes");
    this.heading = this.piece("h1", "title", { dir: "auto" });
    this.mean = this.piece("span", "mean");
    this.outOf = this.piece("span", "scale");
    this.place = this.piece("span", "place");
    this.why = this.piece("span", "why", {}, h("b"), h("span"));
    this.criteres = this.piece("div", "criteres");
    this.line = this.piece("i", "line");
    this.replaceChildren(...this.build());
    const show = (/** @type {number|null} */ mean) => setText(/** @type {Element} */ (this.mean), this.#meanText(mean));
    this.gliding = new Gliding(show);
    return this;
  }

  /**
   * An element with two classes: one that is the same in each theme, and the theme's own.
   *
   * @template {keyof HTMLElementTagNameMap} T
   * @param {T} tag
   * @param {string} name
   * @param {Record<string, unknown>} [attributes]
   * @param {...import("./dom.js").Child} children
   */
  piece(tag, name, attributes = {}, ...children) {
    return h(tag, { class: `panel__${name} ${this.theme}__${name}`, ...attributes }, ...children);
  }

  /** @returns {HTMLElement[]} the parts, where the theme wants them */
  build() {
    return [];
  }

  /** What is going on. @param {JeuScene} scene */
  momentWords({ moment, msLeft }) {
    return this.kit ? momentWords(moment, msLeft, this.kit.t, this.kit.format) : "";
  }

  /** What a critere's mean is drawn with, in themes that show criteres. @returns {Drawing|null} */
  drawing() {
    return null;
  }

  /** @param {Critere} critere @returns {CritereRow|null} */
  #row(critere) {
    const drawing = this.drawing();
    if (!drawing) return null;
    const label = this.piece("span", "critere-label", { dir: "auto" }, this.kit?.t.own(critere.labels) ?? critere.key);
    const mean = this.piece("span", "critere-mean");
    return { element: this.piece("div", "critere", { "data-critere": critere.key }, label, mean, drawing), mean, drawing };
  }

  /** @param {number|null} mean */
  #meanText(mean) {
    return this.live && this.kit ? this.kit.format.mean(mean, this.live.scale) : NO_NUMBER;
  }

  /** @param {JeuScene} scene @param {boolean} stale */
  render(scene, stale) {
    const { kit, phase, votes, heading, outOf, place, why: explanation, gliding } = this;
    if (!kit || !phase || !votes || !heading || !outOf || !place || !explanation || !gliding) return;
    const { t, format } = kit;
    const { live, entry, tally, moment } = scene;
    this.live = live;
    this.dataset.moment = moment;
    this.dataset.hides = moment === "pending" ? "all" : (tally?.masked ?? "");
    this.classList.toggle("has-mean", tally !== null && tally.mean !== null);
    this.dataset.jeu = String(entry.jeu_id);
    this.dataset.digits = String(format.mean(live.scale.max, live.scale).length);
    this.classList.toggle("is-stale", stale);
    setText(phase, stale ? t("link.reconnecting") : this.momentWords(scene));
    setText(votes, votesWords(tally, live, t, format));
    setText(heading, entry.title);
    setText(outOf, t(this.outOfKey, { max: format.score(live.scale.max) }));
    const placed = scene.place !== null && scene.placed > 1;
    setText(place, placed ? t("overlay.place", { place: scene.place ?? 0, count: scene.placed }) : "");
    place.classList.toggle("is-absent", !placed);
    const why = moment === "pending" ? comingWords(live, entry, t) : maskedWords(tally, live, t, format);
    [why.title, why.text].forEach((text, index) => setText(explanation.children[index], text));
    explanation.classList.toggle("is-absent", why.title === "");
    gliding.to(tally?.mean ?? null, kit.motion.on, `${live.live_id}/${entry.jeu_id}`);
    this.#renderCriteres(scene);
    this.#runOut(scene);
  }

  /** @param {JeuScene} scene */
  #renderCriteres({ live, tally }) {
    const { kit, criteres } = this;
    if (!kit || !criteres) return;
    const shown = shownCriteres(live.bareme, kit.criteres);
    rebuild(criteres, JSON.stringify([live.live_id, shown]), () => {
      this.dataset.criteres = String(shown.length);
      this.#rows = shown.map((critere) => this.#row(critere)).filter((row) => row !== null);
      return this.#rows.map(({ element }) => element);
    });
    for (const [index, row] of this.#rows.entries()) {
      const critere = shown[index];
      const summary = tally?.criteres.find(({ key }) => key === critere.key) ?? null;
      setText(row.mean, kit.format.mean(summary?.mean, critere));
      row.drawing.render(critere, summary);
    }
  }

  /** The line that is as long as the time that is left. @param {JeuScene} scene */
  #runOut({ entry, moment, msLeft }) {
    const { line, kit } = this;
    if (!line || !kit) return;
    const deadline = moment === "closing" ? (entry.closes_at_us ?? 0) : 0;
    if (deadline !== this.#deadline) {
      this.#deadline = deadline;
      this.#fullMs = msLeft;
      this.#running?.cancel();
      this.#running = null;
    }
    const left = deadline === 0 ? 0 : Math.min(1, msLeft / this.#fullMs);
    if (left > 0 && this.#running?.playState !== "running") {
      const keyframes = [{ transform: `scaleX(${left})` }, { transform: "scaleX(0)" }];
      this.#running = kit.motion.play(line, keyframes, { duration: msLeft, easing: "linear", fill: "both" });
    }
    const transform = `scaleX(${left.toFixed(3)})`;
    if (line.style.transform !== transform) line.style.transform = transform;
  }

  /**
   * The title in full size on one line where it fits, else a bit smaller, else on two lines.
   *
   * @param {number} _width of the stage
   * @param {number} _height
   */
  fit(_width, _height) {
    const { heading } = this;
    if (!heading) return;
    heading.classList.remove("is-mid", "is-long");
    for (const size of ["is-mid", "is-long"]) {
      if (heading.scrollWidth <= heading.clientWidth) return;
      heading.classList.remove("is-mid");
      heading.classList.add(size);
    }
  }
}
