// @ts-check
/** Makes SVG elements. Attributes only: the content policy forbids `style`. */
import { SVG } from "./dom.js";

/**
 * @param {string} tag
 * @param {Record<string, string|number|null|undefined>} [attributes] null and undefined leave an attribute out
 * @param {...(Node|string|null)} children
 */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

let pictures = 0;

/**
 * A picture that says in words what it shows. It is stretched to its box: whatever is drawn in it must bear that.
 *
 * @param {{width: number, height: number, class: string, title: string, desc?: string}} about
 * @param {...(Node|null)} children
 */
export function picture({ width, height, class: name, title, desc }, ...children) {
  pictures += 1;
  const [titleId, descId] = [`picture-${pictures}`, `picture-${pictures}-more`];
  return svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`,
      preserveAspectRatio: "none",
      class: name,
      role: "img",
      "aria-labelledby": titleId,
      "aria-describedby": desc ? descId : null,
    },
    svg("title", { id: titleId }, title),
    desc ? svg("desc", { id: descId }, desc) : null,
    ...children,
  );
}
