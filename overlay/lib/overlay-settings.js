// @ts-check
/** Settings of an overlay, which live in its URL. What is not understood counts as not said. */

/** The first of each is the default. */
const THEMES = /** @type {const} */ (["card", "band", "pill"]);
const PLACES = /** @type {const} */ (["bl", "b", "br", "l", "c", "r", "tl", "t", "tr"]);
const QR = /** @type {const} */ (["off", "on", "idle"]);
const RANKINGS = /** @type {const} */ (["each", "end"]);
const DEMOS = /** @type {const} */ ([
  "off", "on", "pending", "open", "closing", "finalising", "final", "ranking", "stale", "minimum", "blind", "test",
]);

const SCALE = { least: 0.25, most: 4 };
const HEX = /^#?([0-9a-f]{3}|[0-9a-f]{6})$/i;

/** @typedef {ReturnType<typeof readOverlaySettings>} OverlaySettings */
/** @typedef {typeof DEMOS[number]} Demo `on` runs through everything; the others stand still in one state */

/**
 * @param {URL} url
 * @param {boolean} prefersStill whether this computer asks for less motion
 */
export function readOverlaySettings(url, prefersStill) {
  const query = url.searchParams;
  const scale = Number(query.get("scale") ?? 1);
  const motion = query.get("motion");
  const accent = query.get("accent")?.match(HEX)?.[1];
  return {
    key: query.get("key") ?? "",
    theme: oneOf(THEMES, query.get("theme")),
    pos: oneOf(PLACES, query.get("pos")),
    scale: scale >= SCALE.least && scale <= SCALE.most ? scale : 1,
    /** Keys of criteres to show, or null for all. */
    criteres: keysIn(query.get("criteres")),
    motion: motion === "on" || (motion !== "off" && !prefersStill),
    demo: oneOf(DEMOS, query.get("demo")),
    qr: oneOf(QR, query.get("qr")),
    /** When the ranking is shown: after each result and at the end of the live, or at the end only. */
    ranking: oneOf(RANKINGS, query.get("ranking")),
    accent: accent === undefined ? null : `#${accent.toLowerCase()}`,
  };
}

/**
 * @template {string} T
 * @param {readonly T[]} known
 * @param {string|null} said
 * @returns {T}
 */
function oneOf(known, said) {
  return known.find((value) => value === said) ?? known[0];
}

/** @param {string|null} said */
function keysIn(said) {
  const keys = (said ?? "").split(",").map((key) => key.trim()).filter((key) => key !== "");
  return keys.length > 0 ? keys : null;
}

/**
 * The criteres that are shown: the ones asked for, and all when none of those exists.
 *
 * @param {import("./types.js").Bareme} bareme
 * @param {string[]|null} keys
 */
export function shownCriteres({ criteres }, keys) {
  const asked = criteres.filter(({ key }) => keys === null || keys.includes(key));
  return asked.length > 0 ? asked : criteres;
}
