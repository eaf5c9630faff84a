// @ts-check
/** Results of one live: its ranking, each jeu with the scales of its criteres, a table of it all, and the files. */
/** @import { Admin } from "../../lib/admin.js" */
/** @import { JeuResult, LiveResult } from "../../lib/results.js" */
import { bar, histogram } from "../../lib/charts.js";
import { copyButton } from "../../lib/copy.js";
import { define, h, rebuild } from "../../lib/dom.js";
import { criteresOf, noteCount, ranked, shareOf } from "../../lib/results.js";
import { ShareDialog } from "../share-dialog/share-dialog.js";

const PHASES = { pending: "phase.pending", open: "phase.short_open", closing: "phase.finalising", final: "phase.final" };

export class LiveResults extends HTMLElement {
  /** Jeux whose criteres are on screen: they stay so when numbers come anew. @type {Set<number>} */
  #unfolded = new Set();

  /**
   * @param {Admin} admin
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {import("../../lib/format.js").Format} format
   */
  setUp(admin, t, format) {
    this.admin = admin;
    this.t = t;
    this.format = format;
    this.classList.add("live-results");
    return this;
  }

  /** @param {LiveResult} live */
  show(live) {
    rebuild(this, JSON.stringify(live), () => [this.#facts(live), this.#ranking(live), this.#table(live), this.#files(live)]);
  }

  /** @param {LiveResult} live */
  #facts(live) {
    const { t, format } = this;
    if (!t || !format) return null;
    const notes = noteCount(live);
    const jeux = t.n("admin.results.jeux", live.jeux.length, { n: format.count(live.jeux.length) });
    return h("p", { class: "live-results__facts" }, `${jeux} · ${t.n("admin.results.notes", notes, { n: format.count(notes) })}`);
  }

  /** @param {LiveResult} live */
  #ranking(live) {
    return h("ol", { class: "ranking" }, ranked(live.jeux).map(({ jeu, rank }) => h("li", {}, this.#jeu(live, jeu, rank))));
  }

  /** @param {LiveResult} live @param {JeuResult} jeu @param {number|null} rank */
  #jeu(live, jeu, rank) {
    const { t, format } = this;
    if (!t || !format) return null;
    const votes = t.n("votes.count", jeu.voters, { n: format.count(jeu.voters) });
    const state = jeu.phase === "final" || jeu.phase === "pending" ? "" : ` · ${t(PHASES[jeu.phase])}`;
    const row = [
      h("span", { class: "ranking__rank" }, rank === null ? "" : format.count(rank)),
      h("span", { class: "ranking__title", dir: "auto" }, jeu.title),
      h("span", { class: "ranking__votes" }, jeu.unavailable ? t("admin.results.unavailable") : jeu.phase === "pending" ? t(PHASES.pending) : votes + state),
      bar(shareOf(jeu.mean, live.scale), rank === 1),
      h("b", { class: "ranking__mean" }, format.mean(jeu.mean, live.scale)),
    ];
    const name = `ranking__row${rank === 1 ? " is-first" : ""}`;
    const criteres = criteresOf(live, jeu);
    if (jeu.mean === null || criteres.length === 0) return h("div", { class: name }, row);
    const ontoggle = () => (details.open ? this.#unfolded.add(jeu.jeu_id) : this.#unfolded.delete(jeu.jeu_id));
    const details = h("details", { class: "ranking__more", open: this.#unfolded.has(jeu.jeu_id), ontoggle },
      h("summary", { class: name, "data-focus": `${live.live_id}/${jeu.jeu_id}` }, row),
      h("div", { class: "scales" }, criteres.map(({ critere, summary }) => this.#scale(jeu, critere, summary))));
    return details;
  }

  /**
   * @param {JeuResult} jeu
   * @param {import("../../lib/types.js").Critere} critere
   * @param {import("../../lib/types.js").CritereSummary} summary
   */
  #scale(jeu, critere, summary) {
    const { t, format } = this;
    if (!t || !format) return null;
    const label = t.own(critere.labels);
    const mean = format.mean(summary.mean, critere);
    const chosen = summary.histogram.flatMap((count, k) => (count > 0 ? [t("admin.results.chose", { score: format.score(critere.min + critere.step * k), n: format.count(count) })] : []));
    const words = { title: t("admin.results.scale_title", { critere: label, jeu: jeu.title }), desc: t("admin.results.scale_desc", { mean, n: format.count(summary.count), chosen: chosen.join(", ") }) };
    return h("div", { class: "scale-result" },
      h("span", { class: "scale-result__label", dir: "auto" }, label),
      h("b", { class: "scale-result__mean" }, mean),
      histogram(critere, summary, words),
      h("span", { class: "scale-result__end" }, format.score(critere.min)),
      h("span", { class: "scale-result__count" }, t.n("votes.count", summary.count, { n: format.count(summary.count) })),
      h("span", { class: "scale-result__end" }, format.score(critere.max)));
  }

  /** @param {LiveResult} live */
  #table(live) {
    const { t, format } = this;
    if (!t || !format) return null;
    const { criteres } = live;
    const head = [t("admin.results.jeu"), t("admin.results.rank"), t("admin.mean"), t("admin.voters"), ...criteres.map(({ labels }) => t.own(labels))];
    const rows = ranked(live.jeux).map(({ jeu, rank }) => h("tr", {},
      h("th", { scope: "row", dir: "auto" }, jeu.title),
      h("td", {}, rank === null ? "" : format.count(rank)),
      h("td", { class: "table__mean" }, format.mean(jeu.mean, live.scale)),
      h("td", {}, format.count(jeu.voters)),
      criteres.map((critere) => h("td", {}, format.mean(jeu.criteres.find(({ key }) => key === critere.key)?.mean, critere)))));
    return h("details", { class: "more" },
      h("summary", {}, t("admin.results.table")),
      // Wider than a dock: it scrolls, and can be reached by keyboard to do so.
      h("div", { class: "table-scroll", tabindex: 0, role: "region", "aria-label": t("admin.results.table_of", { title: live.title }) },
        h("table", { class: "table" },
          h("thead", {}, h("tr", {}, head.map((words) => h("th", { scope: "col" }, words)))),
          h("tbody", {}, rows))));
  }

  /** @param {LiveResult} live */
  #files(live) {
    const { admin, t, format } = this;
    const channel = admin?.channel;
    if (!admin || !t || !format || !channel) return null;
    const file = (/** @type {string} */ ending) => `${admin.base}/api/lives/${live.live_id}/results${ending}`;
    const page = `${channel.viewer_url}/${live.live_id}`;
    const share = () => this.append(new ShareDialog().setUp({ live, channel: channel.title, address: channel.viewer_url }, t));
    return h("div", { class: "chips live-results__files" },
      h("button", { type: "button", class: "button is-small is-main", onclick: share }, t("admin.share.open")),
      copyButton(t, page, { label: t("admin.results.copy_link"), class: "" }),
      h("a", { class: "button is-small", href: page, target: "_blank", rel: "noopener" }, t("admin.results.page")),
      // The server names the first one, and this page the other alike.
      h("a", { class: "button is-small is-quiet", href: file(".csv"), download: true }, "CSV"),
      h("a", { class: "button is-small is-quiet", href: file(""), download: `${channel.slug}-${live.live_id}.json` }, "JSON"));
  }
}

define("live-results", LiveResults);
