// @ts-check
/** The jeux of a live, best first, the winner in the accent: at its end, and after a result, which stands out then. */
/** @import { Ranked } from "../../lib/ranking.js" */
/** @import { RankingScene } from "../../lib/overlay-scene.js" */
/** @import { Kit } from "../../lib/overlay-panel.js" */
import { define, h, rebuild, setText } from "../../lib/dom.js";
import { OverlayBar } from "../overlay-bar/overlay-bar.js";

export class OverlayRanking extends HTMLElement {
  /** @param {Kit} kit */
  setUp(kit) {
    this.kit = kit;
    this.classList.add("panel", "ranking");
    this.total = h("span", { class: "ranking__total" });
    this.rows = h("ol", { class: "ranking__rows" });
    this.more = h("p", { class: "ranking__more" });
    const title = h("h1", { class: "ranking__title" }, kit.t("overlay.ranking"));
    this.replaceChildren(h("div", { class: "ranking__head" }, title, this.total), this.rows, this.more);
    return this;
  }

  /** @param {RankingScene} scene @param {boolean} stale */
  render({ live, rows, arrived }, stale) {
    const { kit, total, rows: list } = this;
    if (!kit || !total || !list) return;
    const { t, format } = kit;
    this.classList.toggle("is-stale", stale);
    const notes = rows.reduce((sum, { voters }) => sum + voters, 0);
    const jeux = t.n("overlay.ranking_jeux", rows.length, { n: format.count(rows.length) });
    const counted = t.n("overlay.ranking_notes", notes, { n: format.count(notes) });
    setText(total, stale ? t("link.reconnecting") : `${jeux} · ${counted}`);
    this.classList.toggle("has-new", arrived !== null);
    rebuild(list, JSON.stringify([live.live_id, rows]), () => rows.map((row) => this.#row(row, live.scale)));
    for (const [index, row] of rows.entries()) list.children[index].classList.toggle("is-new", row.entry.jeu_id === arrived);
  }

  /** @param {Ranked} row @param {import("../../lib/types.js").Scale} scale */
  #row({ entry, mean, place }, scale) {
    const bar = new OverlayBar();
    bar.show(scale, mean, 0);
    return h(
      "li",
      { class: `ranking__row${place === 1 ? " is-winner" : ""}` },
      h("span", { class: "ranking__place" }, place),
      h("span", { class: "ranking__jeu", dir: "auto" }, entry.title),
      bar,
      h("span", { class: "ranking__mean" }, this.kit?.format.mean(mean, scale)),
    );
  }

  /** As many rows as there is room for, with the new one among them; the others are counted. @param {number} _width @param {number} height */
  fit(_width, height) {
    const { kit, rows, more } = this;
    const first = rows?.firstElementChild;
    if (!kit || !rows || !more || !(first instanceof HTMLElement)) return;
    for (const row of rows.children) row.toggleAttribute("hidden", false);
    more.hidden = true;
    if (this.offsetHeight <= height) return;
    more.hidden = false;
    const tooMuch = () => this.offsetHeight > height;
    const lastFirst = [...rows.children].slice(1).reverse().filter((row) => !row.matches(".is-new"));
    for (const [index, row] of lastFirst.entries()) {
      row.toggleAttribute("hidden", true);
      setText(more, kit.t.n("overlay.more", index + 1, { n: kit.format.count(index + 1) }));
      if (!tooMuch()) return;
    }
  }
}

define("overlay-ranking", OverlayRanking);
