// @ts-check
/** One jeu with its numbers and what can be done with it: the one on screen large, others that are open small. */
/** @import { LiveState, ProgrammeEntry } from "../../lib/types.js" */
import { actionButton } from "../../lib/actions.js";
import { define, h, rebuild, setText } from "../../lib/dom.js";
import { rebuildKeepingFocus } from "../../lib/focus.js";
import { momentOf, momentWords, placeWords } from "../../lib/phase-words.js";
import { undoLeftMs } from "../../lib/undo.js";
import { ScaleHistogram } from "../scale-histogram/scale-histogram.js";

/**
 * @typedef {object} JeuView
 * @property {LiveState} live
 * @property {ProgrammeEntry} entry
 * @property {ProgrammeEntry|null} next what the button "next" leads to; only on the jeu on screen
 * @property {boolean} isLatestClosing whether the key for undo means this one
 */

export class AdminJeu extends HTMLElement {
  /**
   * @param {import("../../lib/admin.js").Admin} admin
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {import("../../lib/format.js").Format} format
   * @param {boolean} isLarge
   */
  setUp(admin, t, format, isLarge) {
    this.admin = admin;
    this.t = t;
    this.format = format;
    this.isLarge = isLarge;
    this.classList.add("jeu-card");
    this.classList.toggle("is-large", isLarge);
    this.place = h("p", { class: "jeu-card__place" });
    this.jeuTitle = h("h2", { class: "jeu-card__title", dir: "auto", tabindex: -1 });
    const labels = isLarge ? ["admin.mean", "admin.voters", "admin.votes_per_s", "admin.sockets"] : ["admin.mean", "admin.voters"];
    this.values = labels.map(() => h("dd", { class: "jeu-card__value" }));
    this.buttons = h("div", { class: "jeu-card__buttons" });
    this.criteres = h("dl", { class: "jeu-card__criteres" });
    const list = labels.map((label, index) => h("div", { class: "jeu-card__number" }, this.values?.[index] ?? null, h("dt", {}, t(label))));
    // Of the channel rather than of a jeu: it stands once, with the large one.
    this.newcomers = isLarge ? h("p", { class: "jeu-card__newcomers", hidden: true }) : null;
    this.replaceChildren(this.place, this.jeuTitle, h("dl", { class: "jeu-card__numbers" }, list), ...(this.newcomers ? [this.newcomers] : []), this.buttons, this.criteres);
    return this;
  }

  /**
   * @param {JeuView} view
   * @returns {number} milliseconds until a countdown shown here ends
   */
  render(view) {
    const { admin, t, format, place, jeuTitle, values, buttons } = this;
    if (!admin || !t || !format || !place || !jeuTitle || !values || !buttons) return 0;
    const { live, entry, next } = view;
    const { snapshot, clock } = admin;
    const tally = snapshot.tally(entry.jeu_id);
    const msLeft = entry.closes_at_us === undefined ? 0 : (clock?.msUntil(entry.closes_at_us) ?? 0);
    const undoMs = entry.phase === "final" ? undoLeftMs(entry.closed_at_us, clock) : 0;
    const moment = momentOf(entry, msLeft);
    this.dataset.moment = moment;
    this.dataset.jeu = String(entry.jeu_id);
    setText(place, `${placeWords(live, entry.jeu_id, t)} · ${momentWords(moment, msLeft, t, format)}`);
    setText(jeuTitle, entry.title);
    const numbers = [
      format.mean(tally?.mean, live.scale),
      format.count(tally?.voters ?? 0),
      format.rate(snapshot.admin?.votes_per_s ?? 0),
      format.count(snapshot.admin?.sockets ?? 0),
    ];
    values.forEach((value, index) => setText(value, numbers[index]));
    this.#renderNewcomers(snapshot.admin?.newcomers);
    const key = JSON.stringify([live.live_id, entry.jeu_id, moment, next?.jeu_id, next?.title, undoMs > 0, view.isLatestClosing, admin.channel?.close_delay_ms, live.test]);
    rebuildKeepingFocus(buttons, key, () => (live.test ? [] : this.#buttons(view, moment, undoMs > 0)), jeuTitle);
    this.#count(moment, msLeft, undoMs);
    this.#renderCriteres(live, tally);
    return Math.max(msLeft, undoMs);
  }

  /**
   * A burst of new viewers, which may be one person with many tokens.
   *
   * @param {{admitted: number, refused: number, addresses: number}|undefined} numbers
   */
  #renderNewcomers(numbers) {
    const { newcomers, t, format } = this;
    if (!newcomers || !t || !format) return;
    newcomers.hidden = !numbers;
    if (!numbers) return;
    const came = numbers.admitted + numbers.refused;
    // A refusal that rounds to nothing is still one.
    const percent = format.count(Math.ceil((100 * numbers.refused) / Math.max(came, 1)));
    newcomers.classList.toggle("is-warning", numbers.refused > 0);
    setText(newcomers, t("admin.newcomers", { n: format.count(came), percent, addresses: format.count(numbers.addresses) }));
  }

  /**
   * @param {JeuView} view
   * @param {import("../../lib/phase-words.js").Moment} moment
   * @param {boolean} canUndo
   */
  #buttons({ live, entry, next, isLatestClosing }, moment, canUndo) {
    const { admin, t, isLarge } = this;
    if (!admin || !t) return [];
    const path = `admin/lives/${live.live_id}`;
    const at = `${path}/jeux/${entry.jeu_id}`;
    const seconds = Math.round((admin.channel?.close_delay_ms ?? 0) / 1000);
    const key = (/** @type {string} */ letter) => (isLarge ? letter : undefined);
    const size = isLarge ? "" : "is-small";
    const made = [];
    if (isLarge && next) {
      const from = live.current === null ? {} : { from: live.current };
      const detail = h("span", { class: "button__detail" }, h("span", { dir: "auto" }, next.title), h("span", { class: "jeu-card__countdown" }));
      made.push(actionButton(t, t("admin.next"), () => admin.api.post(`${path}/next`, from), { class: "is-main is-next", focus: "next", key: "n", detail }));
    }
    if (moment === "pending") made.push(actionButton(t, t("admin.open_votes"), () => admin.api.post(`${at}/open`), { class: "is-main", focus: "phase", key: key("o") }));
    if (moment === "open") {
      const label = seconds > 0 ? t("admin.close_in", { s: seconds }) : t("admin.close");
      made.push(actionButton(t, label, () => admin.api.post(`${at}/close`), { class: size, focus: "phase", key: key("f") }));
      // Where there is no delay, closing is at once already.
      if (seconds > 0 && isLarge) made.push(this.#closeNow(at, size));
    }
    if (moment === "closing") {
      made.push(this.#undo(at, size, isLatestClosing, true));
      made.push(this.#closeNow(at, size, key("f")));
    }
    if (moment === "final") {
      if (canUndo) made.push(this.#undo(at, size, isLatestClosing, false));
      else made.push(actionButton(t, t("admin.reopen"), () => admin.api.post(`${at}/reopen`), { class: size, focus: "phase", key: key("r") }));
    }
    if (!isLarge && moment !== "final") {
      made.push(actionButton(t, t("admin.follow"), () => admin.api.post(`${path}/current`, { jeu_id: entry.jeu_id }), { class: "is-small", focus: "follow" }));
    }
    return made;
  }

  /** @param {string} at @param {string} size @param {string} [key] */
  #closeNow(at, size, key) {
    const { admin, t } = this;
    if (!admin || !t) return null;
    const run = () => admin.api.post(`${at}/close`, { delay_ms: 0 });
    return actionButton(t, t("admin.close_now"), run, { class: `${size} is-quiet`, confirm: t("admin.close_now_confirm"), focus: "close-now", key });
  }

  /** @param {string} at @param {string} size @param {boolean} isLatest @param {boolean} isAhead whether the closing is still to come */
  #undo(at, size, isLatest, isAhead) {
    const { admin, t } = this;
    if (!admin || !t) return null;
    const detail = h("span", { class: "jeu-card__undo" });
    return actionButton(t, t("admin.keep_open"), () => admin.api.post(`${at}/reopen`), {
      class: `${size} is-undo ${isAhead ? "is-ahead" : ""}`, focus: "phase", key: isLatest ? "u" : undefined, detail,
    });
  }

  /**
   * Seconds on the buttons, without building them anew.
   *
   * @param {import("../../lib/phase-words.js").Moment} moment
   * @param {number} msLeft
   * @param {number} undoMs
   */
  #count(moment, msLeft, undoMs) {
    const { buttons, t, format } = this;
    if (!buttons || !t || !format) return;
    const undo = buttons.querySelector(".jeu-card__undo");
    if (undo) setText(undo, t("admin.seconds", { s: format.seconds(moment === "closing" ? msLeft : undoMs) }));
    const countdown = buttons.querySelector(".jeu-card__countdown");
    if (countdown) setText(countdown, moment === "closing" ? ` · ${t("admin.in_seconds", { s: format.seconds(msLeft) })}` : "");
  }

  /**
   * @param {LiveState} live
   * @param {import("../../lib/types.js").TallyFrame|null} tally
   */
  #renderCriteres(live, tally) {
    const { criteres, t, format } = this;
    if (!criteres || !t || !format) return;
    rebuild(criteres, JSON.stringify([live.live_id, live.bareme]), () =>
      live.bareme.criteres.map((critere) =>
        h("div", { class: "jeu-card__critere" }, h("dt", { dir: "auto" }, t.own(critere.labels) || critere.key), h("dd", {}, h("b", {}), new ScaleHistogram())),
      ),
    );
    live.bareme.criteres.forEach((critere, index) => {
      const summary = tally?.criteres.find(({ key }) => key === critere.key) ?? null;
      const row = criteres.children[index];
      const mean = row.querySelector("b");
      if (mean) setText(mean, format.mean(summary?.mean, critere));
      const scale = row.querySelector("scale-histogram");
      if (scale instanceof ScaleHistogram) scale.render(critere, summary);
    });
  }
}

define("admin-jeu", AdminJeu);
