// @ts-check
/** The ranking of a live as a picture to post: 1200 × 630, drawn by the browser, whatever the titles are. */
/** @import { LiveResult } from "./results.js" */
import { noteCount, openedAt, ranked, shareOf } from "./results.js";

/** What networks show of a link. */
export const SIZE = { width: 1200, height: 630 };

const MARGIN = 64;
const HEAD_BOTTOM = 196;
const FOOT_TOP = 556;
/** More rows than this are too small to read on a phone. */
const MOST_ROWS = 8;
const TALLEST_ROW = 96;
const BAR = { width: 210, height: 10 };
/** Room for the mean and its scale. */
const MEAN_WIDTH = 190;
const RANK_WIDTH = 56;
/** Size of a title that needs two lines, of that of one that does not. */
const LONG_TITLE = 0.72;
const FONT = '"Inter", system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';

export const GROUNDS = {
  dark: { ground: "#101218", text: "#ffffff", quiet: "#a9abb3", track: "#343845" },
  light: { ground: "#f7f5f0", text: "#101218", quiet: "#5d5f66", track: "#ddd9cf" },
};

/**
 * @typedef {object} Shared
 * @property {LiveResult} live
 * @property {string} channel its title
 * @property {string} address of the channel's page
 */

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Shared} shared
 * @param {{t: import("./i18n.js").Texts, format: import("./format.js").Format, ground: keyof typeof GROUNDS, accent: string}} look
 */
export function drawShare(canvas, { live, channel, address }, { t, format, ground, accent }) {
  [canvas.width, canvas.height] = [SIZE.width, SIZE.height];
  const context = canvas.getContext("2d");
  if (!context) return;
  const colours = GROUNDS[ground];
  const right = SIZE.width - MARGIN;
  const pen = penOf(context);
  context.fillStyle = colours.ground;
  context.fillRect(0, 0, SIZE.width, SIZE.height);
  context.fillStyle = accent;
  context.fillRect(0, 0, SIZE.width, 8);

  pen.text(channel, MARGIN, 88, { size: 30, weight: 600, colour: colours.quiet, most: right - MARGIN });
  pen.text(live.title, MARGIN, 152, { size: 56, weight: 800, colour: colours.text, most: right - MARGIN });

  const all = ranked(live.jeux).filter(({ rank }) => rank !== null);
  const rows = all.slice(0, all.length > MOST_ROWS ? MOST_ROWS - 1 : MOST_ROWS);
  const lines = rows.length + (all.length > rows.length ? 1 : 0);
  const height = Math.min(TALLEST_ROW, (FOOT_TOP - HEAD_BOTTOM) / Math.max(1, lines));
  const size = Math.round(height * 0.46);
  rows.forEach(({ jeu, rank }, index) => {
    const top = HEAD_BOTTOM + index * height;
    const base = top + height / 2 + size * 0.36;
    const isFirst = rank === 1;
    const colour = isFirst ? accent : colours.text;
    context.fillStyle = colours.track;
    context.fillRect(MARGIN, top, right - MARGIN, 1);
    pen.text(String(rank), MARGIN, base, { size: size * 0.8, weight: 700, colour: isFirst ? accent : colours.quiet, most: RANK_WIDTH });
    const barLeft = right - MEAN_WIDTH - BAR.width;
    pen.title(jeu.title, MARGIN + RANK_WIDTH, top + height / 2, { size: size * 0.9, weight: 700, colour: colours.text, most: barLeft - MARGIN - RANK_WIDTH - 32 });
    const barTop = top + (height - BAR.height) / 2;
    context.fillStyle = colours.track;
    context.fillRect(barLeft, barTop, BAR.width, BAR.height);
    context.fillStyle = colour;
    context.fillRect(barLeft, barTop, BAR.width * shareOf(jeu.mean, live.scale), BAR.height);
    const outOf = t("admin.results.out_of", { max: format.score(live.scale.max) });
    pen.text(outOf, right, base, { size: size * 0.6, weight: 500, colour: colours.quiet, most: MEAN_WIDTH, align: "right" });
    const outOfWidth = context.measureText(outOf).width + size * 0.25;
    pen.text(format.mean(jeu.mean, live.scale), right - outOfWidth, base, { size: size * 1.1, weight: 800, colour, most: MEAN_WIDTH, align: "right" });
  });
  if (all.length > rows.length) {
    const more = all.length - rows.length;
    const base = HEAD_BOTTOM + (lines - 0.5) * height + size * 0.36;
    pen.text(t.n("admin.share.more", more, { n: format.count(more) }), MARGIN + RANK_WIDTH, base, { size: size * 0.8, weight: 500, colour: colours.quiet, most: 600 });
  }
  if (all.length === 0) pen.text(t("admin.share.nothing"), MARGIN, 300, { size: 34, weight: 500, colour: colours.quiet, most: right - MARGIN });

  const notes = noteCount(live);
  const said = `${t.n("admin.results.notes", notes, { n: format.count(notes) })} · ${format.day(openedAt(live))}`;
  pen.text(address.replace(/^https?:\/\//, ""), MARGIN, 596, { size: 28, weight: 700, colour: colours.text, most: 620 });
  pen.text(said, right, 596, { size: 28, weight: 500, colour: colours.quiet, most: 420, align: "right" });
}

/**
 * @typedef {{size: number, weight: number, colour: string, most: number, align?: CanvasTextAlign}} Style
 * @param {CanvasRenderingContext2D} context
 */
function penOf(context) {
  /** @param {Style} style @param {number} [factor] of its size */
  const take = ({ size, weight, colour, align = "left" }, factor = 1) => {
    context.font = `${weight} ${Math.round(size * factor)}px ${FONT}`;
    context.textAlign = align;
    context.fillStyle = colour;
  };
  return {
    /** @param {string} words @param {number} x @param {number} y of the base line @param {Style} style */
    text(words, x, y, style) {
      take(style);
      context.fillText(fitted(context, words, style.most), x, y);
    },
    /**
     * A title, smaller and on two lines where it is too long for one.
     *
     * @param {string} words
     * @param {number} x
     * @param {number} middle of the row
     * @param {Style} style
     */
    title(words, x, middle, style) {
      take(style);
      const { size, most } = style;
      if (context.measureText(words).width <= most) return context.fillText(words, x, middle + size * 0.36);
      take(style, LONG_TITLE);
      const [first, rest] = broken(context, words, most);
      const line = size * LONG_TITLE;
      if (rest === "") return context.fillText(fitted(context, first, most), x, middle + line * 0.36);
      context.fillText(fitted(context, first, most), x, middle - line * 0.2);
      context.fillText(fitted(context, rest, most), x, middle + line * 0.98);
    },
  };
}

/**
 * The words that fit on a first line, and the others. A text without spaces stays whole.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} most
 */
function broken(context, text, most) {
  const words = text.split(" ");
  let count = 1;
  while (count < words.length && context.measureText(words.slice(0, count + 1).join(" ")).width <= most) count += 1;
  return [words.slice(0, count).join(" "), words.slice(count).join(" ")];
}

/**
 * As much of a text as fits, whole characters, with an ellipsis where something is missing.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {string} words
 * @param {number} most
 */
function fitted(context, words, most) {
  if (context.measureText(words).width <= most) return words;
  const characters = [...new Intl.Segmenter().segment(words)].map(({ segment }) => segment);
  let [low, high] = [0, characters.length];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (context.measureText(`${characters.slice(0, middle).join("").trimEnd()}…`).width <= most) low = middle;
    else high = middle - 1;
  }
  return `${characters.slice(0, low).join("").trimEnd()}…`;
}
