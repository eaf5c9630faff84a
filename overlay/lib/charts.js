// @ts-check
/**
 * The charts of results, in SVG. Every one is stretched to the box that CSS gives it, so that words stay HTML at their
 * own size: bars and columns bear it, lines keep their width by `vector-effect`.
 */
/** @import { Critere, CritereSummary } from "./types.js" */
import { columnsOf } from "./scale.js";
import { picture, svg } from "./svg.js";

const BAR_WIDTH = 100;
const BAR_HEIGHT = 6;

/**
 * A mean as a bar on its track. The words next to it say the same: it is decoration to a screen reader.
 *
 * @param {number} share of the whole scale, 0 to 1
 * @param {boolean} isFirst
 */
export function bar(share, isFirst) {
  return svg(
    "svg",
    { viewBox: `0 0 ${BAR_WIDTH} ${BAR_HEIGHT}`, preserveAspectRatio: "none", class: `bar-chart${isFirst ? " is-first" : ""}`, "aria-hidden": "true" },
    svg("rect", { class: "bar-chart__track", width: BAR_WIDTH, height: BAR_HEIGHT }),
    svg("rect", { class: "bar-chart__bar", width: (share * BAR_WIDTH).toFixed(2), height: BAR_HEIGHT }),
  );
}

const COLUMNS_HEIGHT = 40;

/**
 * A critere as its graduated scale: a column for each step, the one nearest to the mean in the accent, a pin at the mean.
 *
 * @param {Critere} critere
 * @param {CritereSummary} summary
 * @param {{title: string, desc: string}} words
 */
export function histogram(critere, summary, words) {
  const { heights, nearest, pin } = columnsOf(critere, summary.histogram, summary.mean);
  const width = heights.length * 10;
  const columns = heights.map((height, index) =>
    svg("rect", {
      class: `histogram__column${index === nearest ? " is-nearest" : ""}`,
      x: index * 10 + 0.5,
      y: (COLUMNS_HEIGHT * (1 - height)).toFixed(2),
      width: 9,
      height: (COLUMNS_HEIGHT * height).toFixed(2),
    }),
  );
  const rule = svg("line", { class: "histogram__rule", x1: 0, x2: width, y1: COLUMNS_HEIGHT, y2: COLUMNS_HEIGHT });
  const x = pin === null ? 0 : (pin * width).toFixed(2);
  const mark = pin === null ? null : svg("line", { class: "histogram__pin", x1: x, x2: x, y1: COLUMNS_HEIGHT - 4, y2: COLUMNS_HEIGHT + 4 });
  return picture({ width, height: COLUMNS_HEIGHT + 5, class: "histogram", ...words }, ...columns, rule, mark);
}

const TREND_WIDTH = 100;
const TREND_HEIGHT = 40;
const TREND_MARGIN = 4;

/**
 * Means of one thing over several lives, the oldest first, each on its own scale's 0 to 1.
 *
 * @param {number[]} shares
 * @param {{title: string, desc: string}} words
 */
export function trend(shares, words) {
  const step = shares.length > 1 ? (TREND_WIDTH - 2 * TREND_MARGIN) / (shares.length - 1) : 0;
  const points = shares.map((share, index) => [TREND_MARGIN + step * index, TREND_HEIGHT - TREND_MARGIN - share * (TREND_HEIGHT - 2 * TREND_MARGIN)]);
  const path = points.map(([x, y]) => `${x.toFixed(2)} ${y.toFixed(2)}`).join("L");
  const grid = [0, 0.5, 1].map((share) => {
    const y = TREND_HEIGHT - TREND_MARGIN - share * (TREND_HEIGHT - 2 * TREND_MARGIN);
    return svg("line", { class: "trend__rule", x1: 0, x2: TREND_WIDTH, y1: y, y2: y });
  });
  // A line without length and with round ends is a dot that no stretching deforms.
  const dots = points.map(([x, y], index) => svg("path", { class: `trend__dot${index === points.length - 1 ? " is-last" : ""}`, d: `M${x.toFixed(2)} ${y.toFixed(2)}h0` }));
  return picture({ width: TREND_WIDTH, height: TREND_HEIGHT, class: "trend", ...words }, ...grid, svg("path", { class: "trend__line", d: `M${path}` }), ...dots);
}
