// @ts-check
/** Results of the channel's lives: one table each, and the files of them. */
import { actionButton } from "../../lib/actions.js";
import { define, h, rebuild } from "../../lib/dom.js";

/**
 * @typedef {{jeu_id: number, title: string, phase: string, voters: number, mean: number|null,
 *   criteres: {key: string, count: number, mean: number|null}[]}} JeuResult
 */

export class AdminResults extends HTMLElement {
  /**
   * @param {import("../../lib/admin.js").Admin} admin
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {import("../../lib/format.js").Format} format
   */
  setUp(admin, t, format) {
    this.admin = admin;
    this.t = t;
    this.format = format;
    this.list = h("div", { class: "rows" });
    this.classList.add("section");
    this.replaceChildren(h("h2", { class: "section__title" }, t("admin.results.title")), this.list);
    return this;
  }

  render() {
    const { admin, t, list } = this;
    if (!admin || !t || !list) return;
    const lives = admin.data.lives.filter((live) => live.status !== "draft");
    rebuild(list, JSON.stringify([admin.slug, lives]), () =>
      lives.length === 0 ? [h("p", { class: "field__hint" }, t("admin.results.none"))] : lives.map((live) => this.#live(live)),
    );
  }

  /** @param {{live_id: string, title: string, status: string}} live */
  #live(live) {
    const { admin, t } = this;
    if (!admin || !t) return null;
    const table = h("div", { class: "table-scroll" });
    const file = (/** @type {string} */ ending) => `${admin.base}/api/lives/${live.live_id}/results${ending}`;
    const load = async () => table.replaceChildren(this.#table(await admin.api.get(`lives/${live.live_id}/results`)));
    return h(
      "article",
      { class: "result" },
      h("h3", { class: "result__title", dir: "auto" }, live.title, live.status === "open" ? ` · ${t("link.live")}` : ""),
      h(
        "div",
        { class: "chips" },
        actionButton(t, t("admin.results.show"), load, { class: "is-small" }),
        h("a", { class: "button is-small", href: file(".csv"), download: `${live.title}.csv` }, "CSV"),
        h("a", { class: "button is-small", href: file(""), target: "_blank" }, "JSON"),
      ),
      table,
    );
  }

  /** @param {{jeux: JeuResult[]}} results */
  #table({ jeux }) {
    const { t, format } = this;
    if (!t || !format) return "";
    const keys = jeux.flatMap((jeu) => jeu.criteres.map(({ key }) => key));
    const columns = [...new Set(keys)];
    // Means of one live share one precision; its scale is not part of the results.
    const mean = (/** @type {number|null|undefined} */ value) => format.mean(value, { min: 0, max: 10 });
    const ranked = [...jeux].sort((a, b) => (b.mean ?? -Infinity) - (a.mean ?? -Infinity));
    return h(
      "table",
      { class: "table" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("admin.results.jeu")), h("th", { scope: "col" }, t("admin.mean")), h("th", { scope: "col" }, t("admin.voters")), columns.map((key) => h("th", { scope: "col" }, key)))),
      h("tbody", {}, ranked.map((jeu) =>
        h("tr", {},
          h("th", { scope: "row", dir: "auto" }, jeu.title),
          h("td", { class: "table__mean" }, mean(jeu.mean)),
          h("td", {}, format.count(jeu.voters)),
          columns.map((key) => h("td", {}, mean(jeu.criteres.find((critere) => critere.key === key)?.mean)))))),
    );
  }
}

define("admin-results", AdminResults);
