// @ts-check
/** The jeu one looks at: its place, title, overall mean, number of votes, and where it stands. */
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
    this.place = h("p", { class: "jeu-head__place" });
    this.jeuTitle = h("h1", { class: "jeu-head__title", dir: "auto" });
    this.mean = h("span", { class: "jeu-head__mean" });
    this.votes = h("span", { class: "jeu-head__votes" });
    this.moment = h("p", { class: "jeu-head__moment", role: "status" });
    this.replaceChildren(
      this.place,
      this.jeuTitle,
      h("p", { class: "jeu-head__overall" }, this.mean, this.votes),
      this.moment,
    );
    return this;
  }

  /** @param {HeadView} view */
  render({ live, entry, tally, moment, msLeft }) {
    const { t, format } = this;
    if (!t || !format || !this.place || !this.jeuTitle || !this.mean || !this.votes || !this.moment) return;
    const details = [entry.platform, entry.genre, entry.year].filter(Boolean).join(" · ");
    const place = placeWords(live, entry.jeu_id, t);
    setText(this.place, details ? `${place} · ${details}` : place);
    setText(this.jeuTitle, entry.title);
    const blind = tally?.masked === "blind";
    const mean = blind ? t("viewer.after_your_vote") : format.mean(tally?.mean, live.scale);
    this.mean.classList.toggle("is-words", blind);
    setText(this.mean, mean);
    const votes = votesWords(tally, live, t, format);
    setText(this.votes, blind ? votes : `/ ${format.score(live.scale.max)} · ${votes}`);
    this.dataset.moment = moment;
    setText(this.moment, momentWords(moment, msLeft, t, format));
  }
}

define("jeu-head", JeuHead);
