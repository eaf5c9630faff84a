// @ts-check
/** The programme of the live on air: each jeu with where it stands and what can be done with it. */
/** @import { LiveState, ProgrammeEntry } from "../../lib/types.js" */
import { actionButton, actionForm, field, valueOf } from "../../lib/actions.js";
import { define, h, icon, rebuild, setText } from "../../lib/dom.js";
import { NO_NUMBER } from "../../lib/format.js";
import { momentOf, momentWords } from "../../lib/phase-words.js";

export class AdminProgramme extends HTMLElement {
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
    this.list = h("ol", { class: "programme__list" });
    const run = async (/** @type {HTMLFormElement} */ form) => {
      const live = admin.openLive;
      if (!live) return;
      const jeu = await admin.api.post(admin.path("/jeux"), { title: valueOf(form, "title") });
      await admin.api.patch(`admin/lives/${live.live_id}`, { jeux: [...live.programme.map((entry) => entry.jeu_id), jeu.jeu_id] });
      form.reset();
      await admin.reload();
    };
    const add = actionForm(t, t("admin.add"), run, field(t("admin.programme.add"), { name: "title", required: true, maxlength: 200 }));
    add.classList.add("is-row");
    this.replaceChildren(h("h2", { class: "section__title" }, t("admin.programme.title")), this.list, add);
    return this;
  }

  /** @returns {number} milliseconds until the nearest countdown shown here ends */
  render() {
    const { admin, list, t, format } = this;
    const live = admin?.openLive;
    this.hidden = !live;
    if (!live || !admin || !list || !t || !format) return 0;
    const shape = live.programme.map(({ jeu_id, title, phase, closes_at_us }) => [jeu_id, title, phase, closes_at_us !== undefined]);
    rebuild(list, JSON.stringify([live.live_id, live.current, shape]), () => live.programme.map((entry, index) => this.#row(live, entry, index)));
    let nearest = 0;
    live.programme.forEach((entry, index) => {
      const msLeft = entry.closes_at_us === undefined ? 0 : (admin.connection?.clock.msUntil(entry.closes_at_us) ?? 0);
      const moment = momentOf(entry, msLeft);
      if (moment === "closing") nearest = nearest === 0 ? msLeft : Math.min(nearest, msLeft);
      const row = list.children[index];
      const tally = admin.snapshot.tally(entry.jeu_id);
      const words = entry.phase === "open" && moment === "open" ? t("phase.short_open") : momentWords(moment, msLeft, t, format);
      const voters = tally && entry.phase !== "pending" ? ` · ${t.n("votes.count", tally.voters, { n: format.count(tally.voters) })}` : "";
      setText(row.getElementsByClassName("programme__words")[0], `${words}${voters}`);
      setText(row.getElementsByClassName("programme__mean")[0], entry.phase === "pending" ? NO_NUMBER : format.mean(tally?.mean, live.scale));
    });
    return nearest;
  }

  /** @param {LiveState} live @param {ProgrammeEntry} entry @param {number} index */
  #row(live, entry, index) {
    const { admin, t } = this;
    if (!admin || !t) return null;
    const id = entry.jeu_id;
    const path = `admin/lives/${live.live_id}`;
    const closing = entry.closes_at_us !== undefined;
    /** @param {string} label @param {string} what @param {string} [classes] */
    const act = (label, what, classes = "") =>
      actionButton(t, label, () => admin.api.post(`${path}/jeux/${id}/${what}`), { class: `is-small ${classes}`, focus: `${id}/${what}` });
    const buttons = [];
    if (entry.phase === "pending") buttons.push(act(t("admin.open"), "open"));
    if (entry.phase === "open" && !closing) buttons.push(act(t("admin.close"), "close"));
    if (entry.phase === "open" && closing) buttons.push(act(t("admin.keep_open"), "reopen"));
    if (entry.phase === "final") buttons.push(act(t("admin.reopen"), "reopen"));
    if (entry.phase !== "pending" && live.current !== id) {
      const follow = () => admin.api.post(`${path}/current`, { jeu_id: id });
      buttons.push(actionButton(t, t("admin.follow"), follow, { class: "is-small", focus: `${id}/current` }));
    }
    if (entry.phase === "pending") buttons.push(...this.#moves(live, index));
    return h(
      "li",
      { class: live.current === id ? "programme__row is-current" : "programme__row", "data-phase": entry.phase },
      h("span", { class: "programme__place" }, index + 1),
      h("span", { class: "programme__name", dir: "auto" }, entry.title),
      h("span", { class: "programme__mean" }),
      h("span", { class: "programme__words" }),
      h("span", { class: "programme__buttons" }, buttons),
    );
  }

  /** Moves of a jeu that was not opened yet, among those like it. @param {LiveState} live @param {number} index */
  #moves(live, index) {
    const { admin, t } = this;
    if (!admin || !t) return [];
    const order = live.programme.map((entry) => entry.jeu_id);
    /** @param {number} to @param {'up'|'down'} name @param {string} label */
    const move = (to, name, label) => {
      if (live.programme[to]?.phase !== "pending") return null;
      const jeux = order.toSpliced(index, 1).toSpliced(to, 0, order[index]);
      const run = () => admin.api.patch(`admin/lives/${live.live_id}`, { jeux });
      return actionButton(t, label, run, { class: "is-small is-icon", focus: `${order[index]}/${name}`, title: label, icon: icon(name) });
    };
    return [move(index - 1, "up", t("admin.move_up")), move(index + 1, "down", t("admin.move_down"))].filter((node) => node !== null);
  }
}

define("admin-programme", AdminProgramme);
