// @ts-check
/** The jeu on air: large, with its numbers, and the buttons that drive the show. */
import { actionButton } from "../../lib/actions.js";
import { define, h, rebuild, setText } from "../../lib/dom.js";
import { momentOf, momentWords, nextEntry, placeWords } from "../../lib/phase-words.js";
import { ScaleHistogram } from "../scale-histogram/scale-histogram.js";

export class AdminStage extends HTMLElement {
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
    this.place = h("p", { class: "stage-panel__place" });
    this.jeuTitle = h("h1", { class: "stage-panel__title", dir: "auto" });
    this.numbers = ["admin.mean", "admin.voters", "admin.votes_per_s", "admin.sockets"].map((label) => ({
      label,
      value: h("dd", { class: "stage-panel__value" }),
    }));
    this.buttons = h("div", { class: "stage-panel__buttons" });
    this.criteres = h("div", { class: "stage-panel__criteres" });
    const list = this.numbers.map(({ label, value }) => h("div", { class: "stage-panel__number" }, value, h("dt", {}, t(label))));
    this.replaceChildren(this.place, this.jeuTitle, h("dl", { class: "stage-panel__numbers" }, list), this.buttons, this.criteres);
    return this;
  }

  /** @returns {number} milliseconds until the countdown shown here ends */
  render() {
    const { admin, t, format, place, jeuTitle, numbers, buttons } = this;
    const live = admin?.openLive;
    this.hidden = !live;
    if (!live || !admin || !t || !format || !place || !jeuTitle || !numbers || !buttons) return 0;
    const { snapshot } = admin;
    const entry = snapshot.entry(live.current);
    const tally = entry && snapshot.tally(entry.jeu_id);
    const msLeft = entry?.closes_at_us === undefined ? 0 : (admin.connection?.clock.msUntil(entry.closes_at_us) ?? 0);
    const moment = entry ? momentOf(entry, msLeft) : "pending";
    setText(place, entry ? `${placeWords(live, entry.jeu_id, t)} · ${momentWords(moment, msLeft, t, format)}` : live.title);
    setText(jeuTitle, entry?.title ?? t("admin.no_current"));
    const values = [
      format.mean(tally?.mean, live.scale),
      format.count(tally?.voters ?? 0),
      format.rate(snapshot.admin?.votes_per_s ?? 0),
      format.count(snapshot.admin?.sockets ?? 0),
    ];
    numbers.forEach(({ value }, index) => setText(value, values[index]));
    this.title = snapshot.admin ? t("admin.pod", { pod: snapshot.admin.pod }) : "";
    const next = nextEntry(live);
    const closable = moment === "open";
    const ending = live.ends_at_us !== undefined;
    const undoable = moment === "closing" || moment === "final" || moment === "finalising";
    rebuild(buttons, JSON.stringify([live.live_id, entry?.jeu_id, next?.jeu_id, closable, undoable, ending]), () => [
      next ? this.#next(live.live_id, next) : null,
      entry && closable ? this.#close(live.live_id, entry.jeu_id) : null,
      entry && undoable ? this.#reopen(live.live_id, entry.jeu_id) : null,
      this.#closeLive(live.live_id, ending),
    ]);
    this.#renderCriteres(live, tally ?? null);
    return moment === "closing" ? msLeft : 0;
  }

  /** @param {string} live @param {{title: string}} next */
  #next(live, next) {
    const { admin, t } = this;
    if (!admin || !t) return null;
    return actionButton(t, t("admin.next", { title: next.title }), () => admin.api.post(`admin/lives/${live}/next`), { class: "is-main", focus: "next" });
  }

  /** @param {string} live @param {number} jeu */
  #close(live, jeu) {
    const { admin, t } = this;
    if (!admin || !t) return null;
    const seconds = Math.round((admin.channel?.close_delay_ms ?? 0) / 1000);
    return actionButton(t, t("admin.close_in", { s: seconds }), () => admin.api.post(`admin/lives/${live}/jeux/${jeu}/close`), { focus: "close" });
  }

  /** @param {string} live @param {number} jeu */
  #reopen(live, jeu) {
    const { admin, t } = this;
    if (!admin || !t) return null;
    return actionButton(t, t("admin.reopen"), () => admin.api.post(`admin/lives/${live}/jeux/${jeu}/reopen`), { focus: "reopen" });
  }

  /** Ends the live: announced ahead as every closing is, and at once when it was announced. @param {string} live @param {boolean} ending */
  #closeLive(live, ending) {
    const { admin, t } = this;
    if (!admin || !t) return null;
    const run = () => admin.api.post(`admin/lives/${live}/close`, ending ? { delay_ms: 0 } : {});
    const label = ending ? t("admin.close_live_now") : t("admin.close_live");
    return actionButton(t, label, run, { class: "is-quiet", confirm: t("admin.close_live_confirm"), focus: "close-live" });
  }

  /**
   * @param {import("../../lib/types.js").LiveState} live
   * @param {import("../../lib/types.js").TallyFrame|null} tally
   */
  #renderCriteres(live, tally) {
    const { criteres, t, format } = this;
    if (!criteres || !t || !format) return;
    rebuild(criteres, JSON.stringify([live.live_id, live.bareme]), () =>
      live.bareme.criteres.map((critere) =>
        h("div", { class: "stage-panel__critere" }, h("span", { dir: "auto" }, t.own(critere.labels)), h("b", {}), new ScaleHistogram()),
      ),
    );
    live.bareme.criteres.forEach((critere, index) => {
      const summary = tally?.criteres.find(({ key }) => key === critere.key) ?? null;
      const row = criteres.children[index];
      setText(row.children[1], format.mean(summary?.mean, critere));
      const scale = row.lastElementChild;
      if (scale instanceof ScaleHistogram) scale.render(critere, summary);
    });
  }
}

define("admin-stage", AdminStage);
