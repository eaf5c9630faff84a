// @ts-check
/** Settings of an overlay, which live in its URL, and where they put it on the picture. */

/** Free space on each side: what lies nearer to the edge is cut by some screens. */
const MARGIN = 0.05;
/** The size a card is designed for. */
const DESIGN = { width: 1920, height: 1080 };

/** @typedef {ReturnType<typeof readOverlaySettings>} OverlaySettings */

/** @param {URL} url */
export function readOverlaySettings(url) {
  const query = url.searchParams;
  const scale = Number(query.get("scale") ?? 1);
  const criteres = query.get("criteres");
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  return {
    key: query.get("key") ?? "",
    theme: query.get("theme") ?? "card",
    pos: query.get("pos") ?? "bl",
    scale: scale >= 0.25 && scale <= 4 ? scale : 1,
    /** Keys to show, or null for all. */
    criteres: criteres ? criteres.split(",").map((key) => key.trim()) : null,
    motion: query.get("motion") === "on" || (query.get("motion") !== "off" && !still),
  };
}

/**
 * Sizes and places the stage: as large as designed, and never past the free space.
 *
 * @param {HTMLElement} stage
 * @param {HTMLElement} card
 * @param {OverlaySettings} settings
 */
export function placeStage(stage, card, { pos, scale }) {
  const { innerWidth, innerHeight } = window;
  const [width, height] = [card.offsetWidth, card.offsetHeight];
  if (width === 0 || height === 0) return;
  const [marginX, marginY] = [innerWidth * MARGIN, innerHeight * MARGIN];
  const designed = scale * Math.max(1, Math.min(innerWidth / DESIGN.width, innerHeight / DESIGN.height));
  const factor = Math.min(designed, (innerWidth - 2 * marginX) / width, (innerHeight - 2 * marginY) / height);
  const [freeX, freeY] = [innerWidth - width * factor, innerHeight - height * factor];
  const x = pos.includes("l") ? marginX : pos.includes("r") ? freeX - marginX : freeX / 2;
  const y = pos.includes("t") ? marginY : pos.includes("b") ? freeY - marginY : freeY / 2;
  const transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px) scale(${factor.toFixed(4)})`;
  if (stage.style.transform !== transform) stage.style.transform = transform;
}
