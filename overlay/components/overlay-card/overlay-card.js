// @ts-check
/** The card: title, the mean very large, and each critere as its own graduated scale. */
import { define } from "../../lib/dom.js";
import { OverlayPanel } from "../../lib/overlay-panel.js";
import { ScaleHistogram } from "../scale-histogram/scale-histogram.js";

export class OverlayCard extends OverlayPanel {
  theme = "card";

  build() {
    const { dot, phase, votes, heading, mean, outOf, place, why, criteres, line } = this;
    return [
      this.piece("p", "head", {}, this.piece("span", "now", {}, dot, phase), votes),
      heading,
      this.piece("p", "overall", {}, mean, outOf, why, place),
      criteres,
      line,
    ].filter((part) => part !== undefined);
  }

  drawing() {
    return new ScaleHistogram();
  }
}

define("overlay-card", OverlayCard);
