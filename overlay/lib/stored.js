// @ts-check
/** What this browser keeps for its owner. A browser that refuses to keep anything is no reason to fail. */

/**
 * @param {string} name
 * @returns {unknown} what was kept; null when nothing was, or nobody can read it any more
 */
export function readStored(name) {
  try {
    return JSON.parse(localStorage.getItem(name) ?? "null");
  } catch {
    return null;
  }
}

/** @param {string} name @param {unknown} value null forgets it */
export function writeStored(name, value) {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, JSON.stringify(value));
  } catch {
    // Private windows and full disks: it lives as long as the page.
  }
}
