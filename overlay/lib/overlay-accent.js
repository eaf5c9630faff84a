// @ts-check
/**
 * Contrast with colours the streamer chose, in the URL or in custom CSS. What is computed goes into the page's own
 * style sheet: custom CSS comes after it and has the last word.
 */

const INK = "#101218";
const WHITE = "#ffffff";
const BLACK = "#000000";
/** WCAG's least contrast of text. */
const TEXT = 4.5;
/** WCAG's least contrast of text as large as the numbers in the accent colour. */
const LARGE_TEXT = 3;

/** @typedef {[number, number, number]} Rgb 0 to 255 each */

/** Relative luminance, WCAG 2.2. @param {Rgb} colour */
export function luminance(colour) {
  const [r, g, b] = colour.map((channel) => {
    const part = channel / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/**
 * Contrast ratio of two colours, WCAG 2.2.
 *
 * @param {Rgb} one
 * @param {Rgb} other
 */
export function contrast(one, other) {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

/** What text on this colour is written in. @param {Rgb} accent */
export function textOn(accent) {
  const [ink, white] = [contrast(accent, [16, 18, 24]), contrast(accent, [255, 255, 255])];
  // On some blues and purples neither is enough, and only black is.
  if (Math.max(ink, white) < TEXT) return BLACK;
  return ink >= white ? INK : WHITE;
}

/**
 * The accent as a colour of text: itself where it can be read on the panel, and otherwise mixed with what can.
 *
 * @param {Rgb} accent
 * @param {Rgb} panel
 */
export function readableOn(accent, panel) {
  const far = luminance(panel) < 0.18 ? 255 : 0;
  for (let mixed = 0; mixed <= 100; mixed += 10) {
    const colour = /** @type {Rgb} */ (accent.map((channel) => Math.round(channel + ((far - channel) * mixed) / 100)));
    if (contrast(colour, panel) >= LARGE_TEXT) return `rgb(${colour.join(" ")})`;
  }
  return far === 255 ? WHITE : INK;
}

export class Accent {
  #probe;
  #rules;
  #computed = "";
  #pixel = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

  /**
   * @param {Element} probe stands where the colours apply, and has the accent as its colour on the panel's
   * @param {string|null} wanted accent of the URL
   */
  constructor(probe, wanted) {
    this.#probe = probe;
    const sheet = document.styleSheets[0];
    const own = (/** @type {string} */ rule) => /** @type {CSSStyleRule} */ (sheet.cssRules[sheet.insertRule(rule, sheet.cssRules.length)]);
    if (wanted) own(`:root { --accent: ${wanted}; }`);
    this.#rules = own(":root { }").style;
    // OBS adds the streamer's CSS when the page has loaded, and again at each change.
    const watch = { childList: true, subtree: true, characterData: true };
    new MutationObserver(() => this.compute()).observe(document.head, watch);
    this.compute();
  }

  compute() {
    const { color, backgroundColor } = getComputedStyle(this.#probe);
    if (this.#computed === color + backgroundColor) return;
    this.#computed = color + backgroundColor;
    const [accent, panel] = [this.#rgb(color), this.#rgb(backgroundColor)];
    this.#rules.setProperty("--on-accent", textOn(accent));
    this.#rules.setProperty("--accent-on-panel", readableOn(accent, panel));
  }

  /** Any colour CSS can say, painted and looked at. @param {string} colour @returns {Rgb} */
  #rgb(colour) {
    const context = this.#pixel;
    if (!context) return [0, 0, 0];
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b];
  }
}
