// Finds what a style sheet says that the Chromium of OBS does not understand: properties, values, functions, at-rules,
// selectors.
import { parse, walk } from "css-tree";
import { CHROME, data, isKnown } from "./chrome.mjs";

const { properties, selectors, types, "at-rules": atRules } = data.css;

/** Functions, wherever the data files them. */
const functions = new Map();
(function collect(entries) {
  for (const [name, entry] of Object.entries(entries)) {
    if (name === "__compat" || typeof entry !== "object") continue;
    if (entry.__compat) functions.set(name, (functions.get(name) ?? false) || isKnown(entry) !== false);
    collect(entry);
  }
})(types);

/** Names the data keeps under another one. */
const bare = (name) => name.replace(/^-webkit-/, "");
/** Properties that only exist with a prefix, or under another name in the data. */
const OLD = new Set(["-webkit-box-orient", "-webkit-line-clamp", "-webkit-font-smoothing", "-webkit-text-size-adjust", "-webkit-tap-highlight-color"]);
/** Selectors for older browsers of phones; where they mean nothing, they stand in a rule of their own. */
const OLD_SELECTORS = new Set(["-webkit-details-marker"]);

/**
 * @param {string} css
 * @param {string} name of the file
 * @returns {string[]} one line for each finding
 */
export function lintStyles(css, name) {
  const found = [];
  const report = (node, what) => found.push(`${name}:${node.loc?.start.line ?? 0} ${what} is newer than Chromium ${CHROME}, or unknown`);
  const onError = (error) => found.push(`${name}:${error.line} ${error.message}`);
  const tree = parse(css, { positions: true, parseCustomProperty: true, onParseError: onError });
  walk(tree, function (node) {
    switch (node.type) {
      case "Declaration": {
        const { property } = node;
        if (property.startsWith("--") || OLD.has(property)) return;
        // Descriptors of @font-face and the like belong to their at-rule.
        const owner = this.atrule && !this.rule ? atRules[this.atrule.name]?.[property] : properties[property];
        if (!isKnown(owner)) return report(node, property);
        walk(node.value, (value) => {
          if (value.type === "Identifier" && isKnown(owner[value.name]) === false) report(node, `${property}: ${value.name}`);
        });
        return;
      }
      case "Function":
        if (functions.get(node.name) === false) report(node, `${node.name}()`);
        return;
      case "Atrule":
        if (!isKnown(atRules[bare(node.name)])) report(node, `@${node.name}`);
        return;
      case "PseudoClassSelector":
      case "PseudoElementSelector":
        if (OLD_SELECTORS.has(node.name)) return;
        if (isKnown(selectors[node.name] ?? selectors[bare(node.name)]) === false || !(selectors[node.name] ?? selectors[bare(node.name)])) report(node, `:${node.name}`);
        return;
    }
  });
  return found;
}
