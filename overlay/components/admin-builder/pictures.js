// @ts-check
/** Small drawings on the builder's buttons: what a theme looks like, where a place lies, what a background is. */
import { svg } from "../../lib/svg.js";

const WIDTH = 64;
const HEIGHT = 36;

/** @param {...Node} children */
function drawing(...children) {
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "drawing", "aria-hidden": "true" }, ...children);
}

/** @param {number} x @param {number} y @param {number} width @param {number} height @param {string} part @param {number} [rx] */
const box = (x, y, width, height, part, rx = 1) => svg("rect", { x, y, width, height, rx, class: `drawing__${part}` });

/** @param {import("../../lib/builder.js").OverlayChoice['theme']} theme */
export function themePicture(theme) {
  if (theme === "band") return drawing(box(4, 22, 56, 11, "panel", 3), box(7, 25, 8, 5, "accent"), box(18, 26, 18, 3, "text"), box(40, 25, 4, 5, "quiet"), box(46, 26, 4, 4, "quiet"), box(52, 24, 4, 6, "quiet"));
  if (theme === "pill") return drawing(box(16, 14, 32, 9, "panel", 4.5), box(17, 15, 10, 7, "accent", 3.5), box(30, 17, 14, 3, "text"));
  return drawing(box(20, 3, 24, 30, "panel", 3), box(23, 6, 14, 3, "text"), box(23, 11, 10, 7, "text"), box(23, 24, 3, 3, "quiet"), box(27, 22, 3, 5, "quiet"), box(31, 20, 3, 7, "accent"), box(35, 23, 3, 4, "quiet"), box(23, 28, 18, 1, "quiet"));
}

export function placePicture() {
  return svg("svg", { viewBox: "0 0 24 14", class: "drawing is-place", "aria-hidden": "true" }, svg("rect", { x: 6, y: 4, width: 12, height: 6, rx: 1.5 }));
}

/** @param {string} ground */
export function groundPicture(ground) {
  const swatch = document.createElement("span");
  swatch.className = "ground";
  swatch.dataset.ground = ground;
  return swatch;
}
