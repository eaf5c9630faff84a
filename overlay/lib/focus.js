// @ts-check
/** Keyboard focus does not get lost when what had it goes away. */
import { rebuild } from "./dom.js";

/**
 * Builds anew as `rebuild` does. When the control with the focus is gone for good, `fallback` takes the focus: a
 * heading near by, so that Tab goes on from there and Enter does nothing by surprise.
 *
 * @param {HTMLElement} parent
 * @param {string} key
 * @param {Parameters<typeof rebuild>[2]} build
 * @param {HTMLElement} fallback with a `tabindex`
 */
export function rebuildKeepingFocus(parent, key, build, fallback) {
  const had = parent.contains(document.activeElement);
  const built = rebuild(parent, key, build);
  if (built && had && (document.activeElement === document.body || document.activeElement === null)) fallback.focus({ preventScroll: true });
  return built;
}
