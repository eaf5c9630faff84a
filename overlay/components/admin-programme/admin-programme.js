// @ts-check
/** The programme of the live on air: each jeu with where it stands; a row opens to show what can be done with it. */
/** @import { LiveState, ProgrammeEntry } from "../../lib/types.js" */
import { actionButton, actionForm, labelled, linesOf, problemWords, valueOf } from "../../lib/actions.js";
import { announce } from "../../lib/announce.js";
import { define, h, icon, setText } from "../../lib/dom.js";
import { rebuildKeepingFocus } from "../../lib/focus.js";
import { jeuxOf } from "../../lib/live-plan.js";
import { momentOf, momentWords } from "../../lib/phase-words.js";
import { changeProgramme, moved, orderOf } from "../../lib/programme.js";
import { makeReorderable } from "../../lib/reorder.js";
import { keyCap } from "../../lib/shortcuts.js";

/** An order that was sent is on its way back no longer than this. */
const SETTLE_MS = 1_000;
/** Places that a digit puts on screen. */
const MOST_DIGITS = 9;

export class AdminProgramme extends HTMLElement {
  /** The row that shows its buttons. */
  #opened = 0;
  /** The order that was asked for and is not there yet. @type {number[]|null} */
  #wanted = null;
  /** Changes of the order go one after the other. @type {Promise<void>} */
  #changes = Promise.resolve();
  #waiting = 0;

  /**
   * @param {import("../../lib/admin.js").Admin} admin
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {import("../../lib/format.js").Format} format
   */
  setUp(admin, t, format) {
    this.admin = admin;
    this.t = t;
    this.format = format;
    this.classList.add("programme");
    this.heading = h("h2", { class: "section__title", tabindex: -1 }, t("admin.programme.title"));
    this.hint = h("p", { class: "field__hint" }, t("admin.programme.hint"));
    this.list = h("ol", { class: "programme__list" });
    this.say = h("p", { class: "problem", role: "alert" });
    makeReorderable(this.list, (id, before) => this.#move(Number(id), before === null ? null : Number(before)), () => admin.onChange());
    const run = async (/** @type {HTMLFormElement} */ form) => {
      const live = admin.openLive;
      if (!live) return;
      const jeux = await jeuxOf(admin, linesOf(valueOf(form, "title")));
      await changeProgramme(admin.api, live, (order) => [...new Set([...order, ...jeux])]);
      form.reset();
      await admin.reload();
    };
    const titles = h("textarea", { class: "field__input", name: "title", rows: 1, required: true });
    this.add = actionForm(t, t("admin.add"), run, labelled(t("admin.programme.add"), titles, t("admin.programme.add_hint")));
    this.add.classList.add("is-row", "is-calm");
    this.replaceChildren(h("div", { class: "programme__top" }, this.heading, this.hint), this.list, this.say, this.add);
    return this;
  }

  /** @returns {number} milliseconds until the nearest countdown shown here ends */
  render() {
    const { admin, list, t, format, add, heading, hint } = this;
    const live = admin?.openLive ?? admin?.testLive;
    this.hidden = !live;
    if (!live || !admin || !list || !t || !format || !add || !heading || !hint) return 0;
    const mayChange = admin.isAdmin && !live.test;
    add.hidden = !mayChange;
    const rows = this.#inOrder(live);
    hint.hidden = !mayChange || rows.filter(({ phase }) => phase === "pending").length < 2;
    // A row that is held must not go away under the finger.
    if (!list.classList.contains("is-dragging")) {
      const shape = rows.map(({ jeu_id, title, phase, closes_at_us }) => [jeu_id, title, phase, closes_at_us !== undefined]);
      const key = JSON.stringify([live.live_id, live.current, live.test, mayChange, this.#opened, shape]);
      rebuildKeepingFocus(list, key, () => rows.map((entry, index) => this.#row(live, entry, index, mayChange)), heading);
    }
    let nearest = 0;
    for (const entry of rows) {
      const msLeft = entry.closes_at_us === undefined ? 0 : (admin.clock?.msUntil(entry.closes_at_us) ?? 0);
      const moment = momentOf(entry, msLeft);
      if (moment === "closing") nearest = nearest === 0 ? msLeft : Math.min(nearest, msLeft);
      const row = list.querySelector(`[data-id="${entry.jeu_id}"]`);
      const tally = admin.snapshot.tally(entry.jeu_id);
      if (!row) continue;
      if (row instanceof HTMLElement) row.dataset.moment = moment;
      const short = moment === "closing" ? t("admin.closes_in", { s: format.seconds(msLeft) }) : SHORT[moment] ? t(SHORT[moment]) : momentWords(moment, msLeft, t, format);
      setText(row.getElementsByClassName("programme__words")[0], entry.unreadable ? t("admin.jeu.unreadable") : short);
      setText(row.getElementsByClassName("programme__mean")[0], entry.phase === "pending" ? "" : format.mean(tally?.mean, live.scale));
      const voters = row.getElementsByClassName("programme__voters")[0];
      if (voters) setText(voters, entry.phase === "pending" ? "" : t.n("votes.count", tally?.voters ?? 0, { n: format.count(tally?.voters ?? 0) }));
    }
    return nearest;
  }

  /** The programme in the order that was asked for last. @param {LiveState} live */
  #inOrder(live) {
    const wanted = this.#wanted;
    const known = orderOf(live);
    if (!wanted || wanted.length !== known.length || wanted.some((id) => !known.includes(id))) return live.programme;
    if (this.#waiting === 0 && wanted.every((id, index) => id === known[index])) this.#wanted = null;
    return [...live.programme].sort((a, b) => wanted.indexOf(a.jeu_id) - wanted.indexOf(b.jeu_id));
  }

  /** @param {LiveState} live @param {ProgrammeEntry} entry @param {number} index @param {boolean} mayChange */
  #row(live, entry, index, mayChange) {
    const { admin, t } = this;
    if (!admin || !t) return null;
    const id = entry.jeu_id;
    const place = index + 1;
    const isCurrent = live.current === id;
    const isMovable = mayChange && entry.phase === "pending";
    const isOpened = this.#opened === id && !live.test;
    const digit = !live.test && !isCurrent && place <= MOST_DIGITS ? String(place) : "";
    const toggle = () => {
      this.#opened = isOpened ? 0 : id;
      admin.onChange();
    };
    const head = h("button", { type: "button", class: "programme__head", "aria-expanded": String(isOpened), "data-focus": `${id}/head`, disabled: live.test, onclick: toggle },
      h("span", { class: "programme__place" }, digit ? keyCap(digit) : null, h("span", { class: digit ? "sr-only" : "" }, place)),
      h("span", { class: "programme__name", dir: "auto" }, entry.title),
      h("span", { class: "programme__words" }),
      h("span", { class: "programme__mean" }));
    const onkeydown = (/** @type {KeyboardEvent} */ event) => {
      const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      const onGrip = event.target instanceof HTMLElement && event.target.matches("[data-grip]");
      if (!isMovable || !step || !(event.altKey || onGrip) || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      this.#step(id, step);
    };
    const grip = h("button", { type: "button", class: "programme__grip", "data-grip": true, "data-focus": `${id}/grip`, title: t("admin.move"), "aria-label": t("admin.move_jeu", { title: entry.title }) }, icon("grip"));
    return h("li", { class: isCurrent ? "programme__row is-current" : "programme__row", "data-id": id, "data-phase": entry.phase, "aria-current": isCurrent ? "true" : false, onkeydown },
      isMovable ? grip : null,
      head,
      // Not shown as a button of its own: the digit presses it.
      digit ? this.#follow(live, id, digit) : null,
      isOpened ? h("div", { class: "programme__more" }, h("span", { class: "programme__voters" }), this.#buttons(live, entry, isMovable)) : null);
  }

  /** The button behind a row's digit. @param {LiveState} live @param {number} id @param {string} digit */
  #follow(live, id, digit) {
    const { admin, t, say } = this;
    if (!admin || !t || !say) return null;
    const onclick = async () => {
      setText(say, "");
      try {
        await admin.api.post(`admin/lives/${live.live_id}/current`, { jeu_id: id });
      } catch (error) {
        setText(say, problemWords(error, t));
      }
    };
    return h("button", { type: "button", class: "programme__digit", tabindex: -1, "aria-hidden": "true", "data-key": digit, onclick });
  }

  /** @param {LiveState} live @param {ProgrammeEntry} entry @param {boolean} isMovable */
  #buttons(live, entry, isMovable) {
    const { admin, t } = this;
    if (!admin || !t) return [];
    const id = entry.jeu_id;
    const path = `admin/lives/${live.live_id}`;
    /** @param {string} label @param {string} what @param {string} focus @param {unknown} [body] */
    const act = (label, what, focus, body) => actionButton(t, label, () => admin.api.post(`${path}/${what}`, body), { class: "is-small", focus: `${id}/${focus}` });
    const made = [];
    if (entry.phase === "pending") made.push(act(t("admin.open"), `jeux/${id}/open`, "phase"));
    if (entry.phase === "open" && entry.closes_at_us === undefined) made.push(act(t("admin.close"), `jeux/${id}/close`, "phase"));
    if (entry.phase === "open" && entry.closes_at_us !== undefined) made.push(act(t("admin.keep_open"), `jeux/${id}/reopen`, "phase"));
    if (entry.phase === "final") made.push(act(t("admin.reopen"), `jeux/${id}/reopen`, "phase"));
    if (live.current !== id) made.push(act(t("admin.follow"), "current", "current", { jeu_id: id }));
    if (!isMovable) return made;
    const step = (/** @type {number} */ by, /** @type {'up'|'down'} */ name, /** @type {string} */ label) =>
      h("button", { type: "button", class: "button is-small is-icon", title: label, "aria-label": label, "data-focus": `${id}/${name}`, onclick: () => this.#step(id, by) }, icon(name));
    const remove = () => changeProgramme(admin.api, live, (order) => order.filter((other) => other !== id));
    made.push(step(-1, "up", t("admin.move_up")), step(1, "down", t("admin.move_down")));
    if (live.current !== id && live.programme.length > 1) made.push(actionButton(t, t("admin.programme.remove"), remove, { class: "is-small is-quiet", confirm: t("admin.programme.remove_confirm"), focus: `${id}/remove` }));
    return made;
  }

  /** One place up or down. @param {number} id @param {number} by */
  #step(id, by) {
    const live = this.admin?.openLive;
    if (!live) return;
    const order = this.#inOrder(live).map((entry) => entry.jeu_id);
    const to = order.indexOf(id) + by;
    if (to < 0 || to >= order.length) return;
    const rest = order.filter((other) => other !== id);
    this.#move(id, rest[to] ?? null);
  }

  /** @param {number} id @param {number|null} before */
  #move(id, before) {
    const { admin, t, say } = this;
    const live = admin?.openLive;
    if (!admin || !t || !say || !live) return;
    setText(say, "");
    const wanted = moved(this.#inOrder(live).map((entry) => entry.jeu_id), id, before);
    this.#wanted = wanted;
    this.#waiting += 1;
    const title = admin.snapshot.entry(id)?.title ?? "";
    announce(t("admin.moved", { title, place: wanted.indexOf(id) + 1, count: wanted.length }));
    this.#changes = this.#changes.then(async () => {
      try {
        await changeProgramme(admin.api, admin.openLive ?? live, (order) => moved(order, id, before));
      } catch (error) {
        this.#wanted = null;
        setText(say, problemWords(error, t));
      }
      this.#waiting -= 1;
      setTimeout(() => this.#settle(), SETTLE_MS);
    });
    admin.onChange();
  }

  /** Shows the server's order again, whatever became of one's own. */
  #settle() {
    if (this.#waiting > 0) return;
    this.#wanted = null;
    this.admin?.onChange();
  }
}

/** @type {Partial<Record<import("../../lib/phase-words.js").Moment, string>>} */
const SHORT = { open: "phase.short_open", final: "admin.final", finalising: "admin.counting" };

define("admin-programme", AdminProgramme);
