// @ts-check
/** The pill: the mean in a capsule of the accent, the title, and one line of what is going on. */
import { define } from "../../lib/dom.js";
import { OverlayPanel } from "../../lib/overlay-panel.js";

export class OverlayPill extends OverlayPanel {
  theme = "pill";

  /** There is little room. @param {import("../../lib/overlay-scene.js").JeuScene} scene */
  momentWords(scene) {
    return scene.moment === "finalising" && this.kit ? this.kit.t("overlay.counting") : super.momentWords(scene);
  }

  build() {
    const { phase, votes, heading, mean, outOf, place, why, line } = this;
    return [
      this.piece("p", "capsule", {}, mean, outOf),
      this.piece("div", "body", {}, heading, this.piece("p", "parts", {}, votes, phase, why, place)),
      line,
    ].filter((part) => part !== undefined);
  }
}

define("overlay-pill", OverlayPill);
