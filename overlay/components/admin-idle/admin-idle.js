// @ts-check
/** What there is while nothing is on air: the live that just ended with its ranking, and the way to the next one. */
/** @import { LiveState } from "../../lib/types.js" */
import { actionButton } from "../../lib/actions.js";
import { define, h, rebuild, setText } from "../../lib/dom.js";
import { rebuildKeepingFocus } from "../../lib/focus.js";
import { undoLeftMs } from "../../lib/undo.js";

export class AdminIdle extends HTMLElement {
  /**
   * @param {import("../../lib/admin.js").Admin} admin
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {import("../../lib/format.js").Format} format
   * @param {() => void} onPrepare
   */
  setUp(admin, t, format, onPrepare) {
    this.admin = admin;
    this.t = t;
    this.format = format;
    this.onPrepare = onPrepare;
    this.classList.add("idle");
    this.heading = h("h2", { class: "idle__title", tabindex: -1 });
    this.text = h("p", { class: "idle__text" });
    this.undo = h("div", {});
    this.ranking = h("ol", { class: "idle__ranking" });
    this.buttons = h("div", { class: "chips" });
    this.drafts = h("div", { class: "rows" });
    this.replaceChildren(h("section", { class: "idle__card" }, this.heading, this.text, this.undo, this.ranking, this.buttons), this.drafts);
    return this;
  }

  /** @returns {number} milliseconds in which the end can still be taken back */
  render() {
    const { admin, t, format, heading, text, undo, ranking, buttons, drafts } = this;
    const isIdle = Boolean(admin && !admin.openLive && !admin.testLive);
    this.hidden = !isIdle;
    if (!isIdle || !admin || !t || !format || !heading || !text || !undo || !ranking || !buttons || !drafts) return 0;
    const { live } = admin.snapshot;
    const ended = live?.status === "closed" ? live : null;
    const undoMs = undoLeftMs(ended?.closed_at_us, admin.clock);
    setText(heading, ended ? ended.title : t("admin.idle.title"));
    setText(text, ended ? t("admin.idle.over") : admin.isAdmin ? t("admin.idle.text") : t("admin.idle.wait"));
    rebuildKeepingFocus(undo, JSON.stringify([ended?.live_id, undoMs > 0]), () => {
      if (!ended || undoMs === 0) return [];
      const run = () => admin.api.post(`admin/lives/${ended.live_id}/reopen`).then(() => admin.reload());
      return [actionButton(t, t("admin.keep_live"), run, { class: "is-undo", key: "u", focus: "undo", detail: h("span", { class: "idle__left" }) })];
    }, heading);
    const left = undo.querySelector(".idle__left");
    if (left) setText(left, t("admin.seconds", { s: format.seconds(undoMs) }));
    this.#renderRanking(ended, ranking);
    rebuild(buttons, String(admin.isAdmin), () =>
      admin.isAdmin ? [h("button", { type: "button", class: "button is-main", "data-key": "p", "aria-keyshortcuts": "P", "data-focus": "prepare", onclick: () => this.onPrepare?.() }, t("admin.idle.prepare"), h("kbd", { class: "cap", "aria-hidden": "true" }, "P"))] : []);
    const waiting = admin.data.lives.filter((one) => one.status === "draft");
    rebuildKeepingFocus(drafts, JSON.stringify(waiting), () => {
      if (waiting.length === 0) return [];
      const rows = waiting.map((draft) => h("div", { class: "row" },
        h("span", { class: "row__name" }, h("span", { dir: "auto" }, draft.title), h("span", { class: "field__hint" }, t.n("admin.live.count", draft.jeux.length))),
        actionButton(t, t("admin.live.open"), () => admin.api.post(`admin/lives/${draft.live_id}/open`).then(() => admin.reload()), { class: "is-small", focus: draft.live_id })));
      return [h("h2", { class: "section__title" }, t("admin.live.drafts")), ...rows];
    }, heading);
    return undoMs;
  }

  /** @param {LiveState|null} ended @param {HTMLElement} ranking */
  #renderRanking(ended, ranking) {
    const { admin, t, format } = this;
    if (!admin || !t || !format) return;
    const counted = ended?.programme.filter(({ phase }) => phase !== "pending") ?? [];
    const rows = counted.map((entry) => ({ entry, tally: admin.snapshot.tally(entry.jeu_id) }));
    rows.sort((a, b) => (b.tally?.mean ?? -Infinity) - (a.tally?.mean ?? -Infinity));
    ranking.hidden = rows.length === 0;
    rebuild(ranking, JSON.stringify([ended?.live_id, rows.map(({ entry, tally }) => [entry.title, tally?.mean, tally?.voters])]), () =>
      rows.map(({ entry, tally }, index) =>
        h("li", { class: "idle__row" },
          h("span", { class: "idle__place" }, index + 1),
          h("span", { class: "idle__name", dir: "auto" }, entry.title),
          h("span", { class: "idle__votes" }, t.n("votes.count", tally?.voters ?? 0, { n: format.count(tally?.voters ?? 0) })),
          h("span", { class: "idle__mean" }, ended ? format.mean(tally?.mean, ended.scale) : ""))));
  }
}

define("admin-idle", AdminIdle);
