// @ts-check
/** The band, a lower third: the mean on a block of the accent, the title, and the criteres side by side. */
import { define } from "../../lib/dom.js";
import { OverlayPanel } from "../../lib/overlay-panel.js";
import { OverlayBar } from "../overlay-bar/overlay-bar.js";

/** Narrower than this, the criteres stand below the title. */
const BESIDE_WIDTH = 1200;
const MOST_BESIDE = 6;
/** What a critere needs below the title. */
const COLUMN_WIDTH = 150;

export class OverlayBand extends OverlayPanel {
  theme = "band";
  outOfKey = "overlay.on";

  build() {
    const { phase, votes, heading, mean, outOf, place, why, criteres, line } = this;
    return [
      this.piece("p", "block", {}, mean, outOf),
      this.piece("div", "body", {}, this.piece("p", "parts", {}, votes, phase, why, place), heading),
      criteres,
      line,
    ].filter((part) => part !== undefined);
  }

  drawing() {
    return new OverlayBar();
  }

  /** @param {number} width @param {number} height */
  fit(width, height) {
    const count = this.criteres?.childElementCount ?? 0;
    const most = width >= BESIDE_WIDTH ? MOST_BESIDE : Math.max(1, Math.floor(width / COLUMN_WIDTH));
    const rows = Math.ceil(count / most);
    this.style.setProperty("--band-columns", String(Math.ceil(count / Math.max(1, rows))));
    this.classList.toggle("is-many", rows > 1 && width >= BESIDE_WIDTH);
    super.fit(width, height);
  }
}

define("overlay-band", OverlayBand);
