// @ts-check
/** The live on air: the jeu on screen large, the others that are open, and the end of it all. */
/** @import { LiveState, ProgrammeEntry } from "../../lib/types.js" */
import { actionButton } from "../../lib/actions.js";
import { define, h, setText } from "../../lib/dom.js";
import { rebuildKeepingFocus } from "../../lib/focus.js";
import { nextEntry } from "../../lib/phase-words.js";
import { latestClosing, undoLeftMs } from "../../lib/undo.js";
import { AdminJeu } from "../admin-jeu/admin-jeu.js";

export class AdminStage extends HTMLElement {
  /** Cards of jeux that are open besides the one on screen. @type {Map<number, AdminJeu>} */
  #others = new Map();

  /**
   * @param {import("../../lib/admin.js").Admin} admin
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {import("../../lib/format.js").Format} format
   */
  setUp(admin, t, format) {
    this.admin = admin;
    this.t = t;
    this.format = format;
    this.classList.add("stage-panel");
    this.heading = h("h2", { class: "sr-only", tabindex: -1 }, t("admin.tab.live"));
    this.ending = h("div", { class: "stage-panel__ending" });
    this.old = h("p", { class: "stage-panel__old", role: "status" });
    this.none = h("div", { class: "empty" }, h("p", { class: "empty__title" }, t("admin.no_current")), h("div", { class: "stage-panel__buttons" }));
    this.current = new AdminJeu().setUp(admin, t, format, true);
    this.others = h("div", { class: "stage-panel__others" });
    this.liveTitle = h("span", { class: "stage-panel__live", dir: "auto" });
    this.pod = h("span", { class: "stage-panel__pod" });
    this.foot = h("div", { class: "stage-panel__foot" });
    this.end = h("div", { class: "stage-panel__end" }, h("p", { class: "stage-panel__about" }, this.liveTitle, this.pod), this.foot);
    this.replaceChildren(this.heading, this.ending, this.old, this.none, this.current, this.others, this.end);
    return this;
  }

  /** @returns {number} milliseconds until a countdown shown here ends */
  render() {
    const { admin, t, format, heading, ending, old, none, current, liveTitle, pod, foot } = this;
    const live = admin?.openLive ?? admin?.testLive;
    this.hidden = !live;
    if (!live || !admin || !t || !format || !heading || !ending || !old || !none || !current || !liveTitle || !pod || !foot) return 0;
    const { snapshot, clock } = admin;
    const entry = snapshot.entry(live.current);
    const next = nextEntry(live);
    const latest = latestClosing(live, clock);
    const countdowns = [this.#renderEnding(live, ending, heading)];
    const since = snapshot.link === "live" ? "" : t("admin.old_numbers", { time: format.time(snapshot.linkSince) });
    setText(old, since || (snapshot.state?.stale ? t("link.stale") : ""));
    none.hidden = entry !== null;
    current.hidden = entry === null;
    if (entry) countdowns.push(current.render({ live, entry, next, isLatestClosing: latest === entry }));
    else this.#renderNone(live, next, none);
    countdowns.push(...this.#renderOthers(live, latest));
    setText(liveTitle, live.title);
    setText(pod, snapshot.admin ? t("admin.pod", { pod: snapshot.admin.pod.slice(-6) }) : "");
    pod.title = snapshot.admin?.pod ?? "";
    rebuildKeepingFocus(foot, JSON.stringify([live.live_id, live.test, endOf(live)]), () => (live.test || endOf(live) !== null ? [] : [this.#closeLive(live.live_id)]), heading);
    return Math.min(...countdowns.filter((ms) => ms > 0), Infinity);
  }

  /**
   * @param {LiveState} live
   * @param {ProgrammeEntry|null} latest
   */
  #renderOthers(live, latest) {
    const { admin, t, format, others } = this;
    if (!admin || !t || !format || !others || !this.heading) return [];
    const isShown = (/** @type {ProgrammeEntry} */ { jeu_id, phase, closed_at_us }) =>
      jeu_id !== live.current && (phase === "open" || phase === "closing" || (phase === "final" && undoLeftMs(closed_at_us, admin.clock) > 0));
    const shown = live.programme.filter(isShown);
    const had = others.contains(document.activeElement);
    for (const [id, card] of this.#others) {
      if (shown.some((entry) => entry.jeu_id === id)) continue;
      card.remove();
      this.#others.delete(id);
    }
    if (had && !others.contains(document.activeElement)) this.heading.focus({ preventScroll: true });
    return shown.map((entry, index) => {
      let card = this.#others.get(entry.jeu_id);
      if (!card) {
        card = new AdminJeu().setUp(admin, t, format, false);
        this.#others.set(entry.jeu_id, card);
      }
      if (others.children[index] !== card) others.insertBefore(card, others.children[index] ?? null);
      return card.render({ live, entry, next: null, isLatestClosing: latest === entry });
    });
  }

  /** Nothing is on screen yet. @param {LiveState} live @param {ProgrammeEntry|null} next @param {HTMLElement} none */
  #renderNone(live, next, none) {
    const { admin, t, heading } = this;
    const buttons = none.querySelector(".stage-panel__buttons");
    if (!admin || !t || !heading || !(buttons instanceof HTMLElement)) return;
    rebuildKeepingFocus(buttons, JSON.stringify([live.live_id, next?.jeu_id, next?.title]), () => {
      if (!next) return [];
      const detail = h("span", { class: "button__detail", dir: "auto" }, next.title);
      return [actionButton(t, t("admin.next"), () => admin.api.post(`admin/lives/${live.live_id}/next`), { class: "is-main is-next", key: "n", focus: "next", detail })];
    }, heading);
  }

  /**
   * The announced end of the live, and the way back.
   *
   * @param {LiveState} live
   * @param {HTMLElement} ending
   * @param {HTMLElement} heading
   */
  #renderEnding(live, ending, heading) {
    const { admin, t, format } = this;
    if (!admin || !t || !format) return 0;
    const endsAtUs = endOf(live);
    const isEnding = endsAtUs !== null;
    ending.hidden = !isEnding;
    const msLeft = endsAtUs === null ? 0 : (admin.clock?.msUntil(endsAtUs) ?? 0);
    rebuildKeepingFocus(ending, JSON.stringify([live.live_id, isEnding]), () => {
      if (!isEnding) return [];
      const keep = () => admin.api.post(`admin/lives/${live.live_id}/reopen`);
      const end = () => admin.api.post(`admin/lives/${live.live_id}/close`, { delay_ms: 0 });
      return [
        h("p", { class: "stage-panel__ends", role: "status" }),
        h("div", { class: "stage-panel__buttons" },
          actionButton(t, t("admin.keep_live"), keep, { class: "is-undo", focus: "keep-live" }),
          actionButton(t, t("admin.close_live_now"), end, { class: "is-quiet", confirm: t("admin.close_live_confirm"), focus: "close-live", key: "e" })),
      ];
    }, heading);
    const words = ending.querySelector(".stage-panel__ends");
    if (words) setText(words, msLeft > 0 ? t("admin.ends_in", { s: format.seconds(msLeft) }) : t("admin.ends_now"));
    return msLeft;
  }

  /** Ends the live, announced ahead as every closing is. @param {string} live */
  #closeLive(live) {
    const { admin, t } = this;
    if (!admin || !t) return null;
    const run = () => admin.api.post(`admin/lives/${live}/close`);
    return actionButton(t, t("admin.close_live"), run, { class: "is-quiet is-small", confirm: t("admin.close_live_confirm"), focus: "close-live", key: "e" });
  }
}

/** The announced end of a live; a rehearsal ends by itself, which the test mode says. @param {LiveState} live */
function endOf(live) {
  return live.test ? null : (live.ends_at_us ?? null);
}

define("admin-stage", AdminStage);
