// @ts-check
/** The address of an overlay, out of what a streamer chose. What is not said is the overlay's own default. */
import { readHex } from "./colours.js";

export const THEMES = /** @type {const} */ (["card", "band", "pill"]);
export const PLACES = /** @type {const} */ (["tl", "t", "tr", "l", "c", "r", "bl", "b", "br"]);
export const LANGS = /** @type {const} */ (["", "fr", "en"]);
export const MOTIONS = /** @type {const} */ (["", "on", "off"]);
export const QRS = /** @type {const} */ (["off", "idle", "on"]);
export const RANKINGS = /** @type {const} */ (["each", "end"]);
export const MOMENTS = /** @type {const} */ (["open", "closing", "final", "ranking", "pending", "minimum", "stale", "on"]);

const LEAST_SCALE = 0.5;
const MOST_SCALE = 2;
export const SCALE = { min: LEAST_SCALE, max: MOST_SCALE, step: 0.1 };

/**
 * @typedef {object} OverlayChoice
 * @property {typeof THEMES[number]} theme
 * @property {typeof LANGS[number]} lang empty: the browser's own
 * @property {typeof PLACES[number]} pos
 * @property {number} scale
 * @property {string[]|null} criteres keys; null for all
 * @property {typeof MOTIONS[number]} motion empty: as the system says
 * @property {typeof QRS[number]} qr
 * @property {typeof RANKINGS[number]} ranking after each result, or at the end only
 * @property {string} accent `#rrggbb`; empty: the look's own
 */

/** @type {OverlayChoice} */
export const DEFAULT_CHOICE = { theme: "card", lang: "", pos: "bl", scale: 1, criteres: null, motion: "", qr: "off", ranking: "each", accent: "" };

/**
 * A choice that was kept by this browser, perhaps by an older version of this page.
 *
 * @param {unknown} kept
 * @returns {OverlayChoice}
 */
export function checkedChoice(kept) {
  const given = /** @type {Record<string, unknown>} */ (typeof kept === "object" && kept !== null ? kept : {});
  /** @template {string} T @param {readonly T[]} known @param {unknown} value @param {T} otherwise */
  const one = (known, value, otherwise) => known.find((option) => option === value) ?? otherwise;
  const scale = Number(given.scale);
  const keys = Array.isArray(given.criteres) ? given.criteres.filter((key) => typeof key === "string") : null;
  return {
    theme: one(THEMES, given.theme, DEFAULT_CHOICE.theme),
    lang: one(LANGS, given.lang, DEFAULT_CHOICE.lang),
    pos: one(PLACES, given.pos, DEFAULT_CHOICE.pos),
    scale: scale >= LEAST_SCALE && scale <= MOST_SCALE ? scale : DEFAULT_CHOICE.scale,
    criteres: keys,
    motion: one(MOTIONS, given.motion, DEFAULT_CHOICE.motion),
    qr: one(QRS, given.qr, DEFAULT_CHOICE.qr),
    ranking: one(RANKINGS, given.ranking, DEFAULT_CHOICE.ranking),
    accent: typeof given.accent === "string" ? (readHex(given.accent) ?? "") : "",
  };
}

/**
 * An overlay's address with a choice in its query.
 *
 * @param {string} address of the overlay; its own query stays
 * @param {OverlayChoice} choice
 * @param {Record<string, string>} [more] such as `demo`
 */
export function overlayAddress(address, choice, more = {}) {
  const url = new URL(address);
  const { criteres, scale, accent, ...plain } = choice;
  for (const [name, value] of Object.entries(plain)) {
    if (value !== DEFAULT_CHOICE[/** @type {keyof typeof plain} */ (name)]) url.searchParams.set(name, value);
  }
  if (scale !== DEFAULT_CHOICE.scale) url.searchParams.set("scale", String(scale));
  if (criteres !== null) url.searchParams.set("criteres", criteres.join(","));
  // Without its #, which an address would have to escape.
  if (accent !== "") url.searchParams.set("accent", accent.slice(1));
  for (const [name, value] of Object.entries(more)) url.searchParams.set(name, value);
  return url.href;
}

/**
 * What OBS makes a browser source of when it is dropped there: it takes `layer-name`, `layer-width` and `layer-height`
 * out of the query (obs-studio, `OBSBasic::AddDropURL`).
 *
 * @param {string} address
 * @param {{name: string, width: number, height: number}} source
 */
export function obsAddress(address, { name, width, height }) {
  const url = new URL(address);
  // Not URLSearchParams: OBS decodes %20, and would keep a + in the name.
  const layer = `layer-name=${encodeURIComponent(name)}&layer-width=${width}&layer-height=${height}`;
  return `${url.href}${url.search ? "&" : "?"}${layer}`;
}
