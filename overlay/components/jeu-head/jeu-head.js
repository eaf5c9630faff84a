// @ts-check
/** The jeu one looks at: its place, where it stands, its title, overall mean and number of votes. */
/** @import { LiveState, ProgrammeEntry, TallyFrame } from "../../lib/types.js" */
import { define, h, setText } from "../../lib/dom.js";
import { momentWords, placeWords } from "../../lib/phase-words.js";
import { votesWords } from "../../lib/tally-words.js";

/**
 * @typedef {object} HeadView
 * @property {LiveState} live
 * @property {ProgrammeEntry} entry
 * @property {TallyFrame|null} tally
 * @property {import("../../lib/phase-words.js").Moment} moment
 * @property {number} msLeft
 */

export class JeuHead extends HTMLElement {
  /** @param {import("../../lib/i18n.js").Texts} t @param {import("../../lib/format.js").Format} format */
  setUp(t, format) {
    this.t = t;
    this.format = format;
    this.classList.add("jeu-head");
    this.place = h("span", { class: "jeu-head__place" });
    this.moment = h("span", { class: "jeu-head__moment" });
    this.jeuTitle = h("h1", { class: "jeu-head__title", dir: "auto", tabindex: -1 });
    this.details = h("p", { class: "jeu-head__details", dir: "auto" });
    this.mean = h("span", { class: "jeu-head__mean" });
    this.votes = h("span", { class: "jeu-head__votes" });
    /** @type {number|undefined} */
    this.endsAtUs = undefined;
    this.fuse = h("i", { class: "jeu-head__fuse" });
    this.replaceChildren(
      h("p", { class: "jeu-head__top" }, this.place, this.moment),
      this.jeuTitle,
      this.details,
      h("p", { class: "jeu-head__overall" }, this.mean, " ", this.votes),
      this.fuse,
    );
    return this;
  }

  /** @param {HeadView} view */
  render({ live, entry, tally, moment, msLeft }) {
    const { t, format } = this;
    if (!t || !format || !this.place || !this.moment || !this.jeuTitle || !this.details || !this.mean || !this.votes) return;
    setText(this.place, placeWords(live, entry.jeu_id, t));
    setText(this.jeuTitle, entry.title);
    const details = [entry.platform, entry.genre, entry.year].filter(Boolean).join(" · ");
    setText(this.details, details);
    this.details.hidden = !details;
    const blind = tally?.masked === "blind";
    this.mean.classList.toggle("is-words", blind);
    this.mean.classList.toggle("is-none", !blind && (tally?.mean ?? null) === null);
    setText(this.mean, blind ? t("viewer.after_your_vote") : format.mean(tally?.mean, live.scale));
    const votes = votesWords(tally, live, t, format);
    setText(this.votes, blind ? votes : `/ ${format.score(live.scale.max)} · ${votes}`);
    this.dataset.moment = moment;
    setText(this.moment, momentWords(moment, msLeft, t, format));
    this.#burn(moment === "closing" ? entry.closes_at_us : undefined, msLeft);
  }

  /**
   * A line that runs out as the time does: one transition for the whole of it, begun when the end is first known.
   *
   * @param {number|undefined} endsAtUs
   * @param {number} msLeft
   */
  #burn(endsAtUs, msLeft) {
    if (!this.fuse || this.endsAtUs === endsAtUs) return;
    this.endsAtUs = endsAtUs;
    this.fuse.getAnimations().forEach((burning) => burning.cancel());
    if (endsAtUs !== undefined) this.fuse.animate({ transform: ["scaleX(1)", "scaleX(0)"] }, { duration: msLeft, fill: "forwards" });
  }
}

define("jeu-head", JeuHead);
