// @ts-check
/** A few helpers over the DOM. Text always goes in as text. */

/** @typedef {Node|string|number|null|undefined|false} Child */

/**
 * Makes an element. Attributes that start with `on` are listeners; `class` and `data-…` are as in HTML; `false`, `null`
 * and `undefined` leave an attribute out.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, unknown>} [attributes]
 * @param {...(Child|Child[])} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else if (name === "value") /** @type {any} */ (element).value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

export const SVG = "http://www.w3.org/2000/svg";

/** Paths of the icons, drawn on 24 × 24 with 2 px strokes. */
const ICONS = {
  check: "M5 12.5l4.5 4.5L19 7.5",
  copy: "M9 9h10v10H9zM5 15V5h10",
  up: "M6 15l6-6 6 6",
  down: "M6 9l6 6 6-6",
  close: "M6 6l12 12M18 6L6 18",
  grip: "M9 6h.01M15 6h.01M9 12h.01M15 12h.01M9 18h.01M15 18h.01",
  eye: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12zM12 9a3 3 0 100 6 3 3 0 000-6z",
};

/** @param {keyof typeof ICONS} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const attributes = { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" };
  for (const [attribute, value] of Object.entries(attributes)) svg.setAttribute(attribute, value);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** Writes text only when it differs, so that nothing is laid out for nothing. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** What the children of an element were built from. Not an attribute: what is built may be a secret. @type {WeakMap<Element, string>} */
const built = new WeakMap();

/**
 * Builds the children of an element again only when `key` changed; keyboard focus stays on the control with the same
 * `data-focus`.
 *
 * @param {HTMLElement} parent
 * @param {string} key
 * @param {() => (Child|Child[])[]} build
 */
export function rebuild(parent, key, build) {
  if (built.get(parent) === key) return false;
  const focused = document.activeElement instanceof HTMLElement && parent.contains(document.activeElement)
    ? document.activeElement.dataset.focus
    : undefined;
  built.set(parent, key);
  const children = build().flat().filter((child) => child !== null && child !== undefined && child !== false);
  parent.replaceChildren(...children.map((child) => (child instanceof Node ? child : String(child))));
  if (focused) {
    const again = [...parent.querySelectorAll("[data-focus]")].find((e) => e instanceof HTMLElement && e.dataset.focus === focused);
    if (again instanceof HTMLElement) again.focus();
  }
  return true;
}

/**
 * Calls `render` at most once per animation frame, however often it is asked to.
 *
 * @param {() => void} render
 */
export function oncePerFrame(render) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      render();
    });
  };
}

/**
 * Defines a custom element once.
 *
 * @param {string} name
 * @param {CustomElementConstructor} element
 */
export function define(name, element) {
  if (!customElements.get(name)) customElements.define(name, element);
}
