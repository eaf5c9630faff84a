// @ts-check
/** Colours as people type them. What can be read on them is overlay-accent.js's. */
/** @import { Rgb } from "./overlay-accent.js" */

/**
 * Reads `#f53` and `#ff5b35`, with or without their `#`.
 *
 * @param {string} text
 * @returns {string|null} six digits after a `#`, or null
 */
export function readHex(text) {
  const digits = text.trim().replace(/^#/, "").toLowerCase();
  if (/^[0-9a-f]{6}$/.test(digits)) return `#${digits}`;
  return /^[0-9a-f]{3}$/.test(digits) ? `#${[...digits].map((digit) => digit + digit).join("")}` : null;
}

/** @param {string} hex six digits after a `#` @returns {Rgb} */
export function rgbOf(hex) {
  return [parseInt(hex.slice(1, 3), 16), parseInt(hex.slice(3, 5), 16), parseInt(hex.slice(5, 7), 16)];
}
