// What the Chromium in OBS understands, by MDN's compatibility data.
import { createRequire } from "node:module";

/** OBS Studio embeds this one. */
export const CHROME = 127;
export const data = createRequire(import.meta.url)("@mdn/browser-compat-data");

/** Whether a statement of support says that Chromium has it, without a flag and by this name. */
function supports({ version_added: added, version_removed: removed, flags, partial_implementation: partial }) {
  return typeof added === "string" && parseFloat(added.replace("≤", "")) <= CHROME && !flags && !partial && !(removed && parseFloat(removed) <= CHROME);
}

/**
 * @param {any} entry of the data, or nothing
 * @returns {boolean|undefined} undefined when nobody knows
 */
export function isKnown(entry) {
  const chrome = entry?.__compat?.support.chrome;
  if (chrome === undefined) return undefined;
  return [chrome].flat().some(supports);
}
