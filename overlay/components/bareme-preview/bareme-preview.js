// @ts-check
/** A bareme as viewers will see its controls; what one tries here goes nowhere. */
/** @import { Bareme } from "../../lib/types.js" */
import { define, h, rebuild } from "../../lib/dom.js";
import { CritereField } from "../critere-field/critere-field.js";

export class BaremePreview extends HTMLElement {
  /**
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {import("../../lib/format.js").Format} format
   */
  setUp(t, format) {
    this.t = t;
    this.format = format;
    this.classList.add("bareme-preview");
    this.body = h("div", { class: "criteres" });
    this.replaceChildren(h("p", { class: "bareme-preview__title" }, t("admin.bareme.preview")), this.body);
    return this;
  }

  /** @param {Bareme} bareme as it is typed: what cannot be drawn is left out */
  render(bareme) {
    const { t, format, body } = this;
    if (!t || !format || !body) return;
    const drawn = bareme.criteres.filter(canBeDrawn);
    rebuild(body, JSON.stringify(drawn), () => drawn.map((critere, index) => {
      /** @type {{score: number|undefined, abstained: boolean}} */
      const view = { score: undefined, abstained: false };
      const show = () => field.render({ ...view, summary: null, meanWords: "", locked: false });
      // Keys that are typed may be there twice for a moment; the buttons of two criteres must not become one group.
      const field = new CritereField().setUp({ ...critere, key: `preview-${index}-${critere.key}` }, t, format, (_, score) => {
        view.score = score ?? undefined;
        view.abstained = score === null;
        show();
      });
      show();
      return field;
    }));
  }
}

/** More steps than this the server refuses. */
const MOST_STEPS = 100;

/** @param {import("../../lib/types.js").Critere} critere */
function canBeDrawn({ min, max, step }) {
  const steps = (max - min) / step;
  return Number.isFinite(steps) && step > 0 && steps >= 1 && steps <= MOST_STEPS && Math.abs(steps - Math.round(steps)) < 1e-6;
}

define("bareme-preview", BaremePreview);
