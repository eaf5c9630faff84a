// @ts-check
/** The end of a live: its jeux, best first, the winner in the accent. */
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
  render({ live, rows }, stale) {
    const { kit, total, rows: list } = this;
    if (!kit || !total || !list) return;
    const { t, format } = kit;
    this.classList.toggle("is-stale", stale);
    const notes = rows.reduce((sum, { voters }) => sum + voters, 0);
    const jeux = t.n("overlay.ranking_jeux", rows.length, { n: format.count(rows.length) });
    const counted = t.n("overlay.ranking_notes", notes, { n: format.count(notes) });
    setText(total, stale ? t("link.reconnecting") : `${jeux} · ${counted}`);
    this.ranked = rows;
    rebuild(list, JSON.stringify([live.live_id, rows]), () => rows.map((row) => this.#row(row, live.scale)));
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

  /** As many rows as there is room for; the others are counted. @param {number} _width @param {number} height */
  fit(_width, height) {
    const { kit, rows, more, ranked = [] } = this;
    const first = rows?.firstElementChild;
    if (!kit || !rows || !more || !(first instanceof HTMLElement)) return;
    for (const row of rows.children) row.toggleAttribute("hidden", false);
    more.hidden = true;
    if (this.offsetHeight <= height) return;
    more.hidden = false;
    const tooMuch = () => this.offsetHeight > height;
    for (let shown = ranked.length - 1; shown > 0; shown -= 1) {
      rows.children[shown].toggleAttribute("hidden", true);
      const left = ranked.length - shown;
      setText(more, kit.t.n("overlay.more", left, { n: kit.format.count(left) }));
      if (!tooMuch()) return;
    }
  }
}

define("overlay-ranking", OverlayRanking);
