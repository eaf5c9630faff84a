// A rule for ESLint: no global, static or member that came after the Chromium of OBS. Beyond what eslint-plugin-compat
// looks at, it sees `Promise.try()`, and `element.moveBefore()` without knowing what `element` is: a member counts as new
// when everything that has one of that name is.
import { CHROME, data, isKnown } from "./chrome.mjs";

/** Members by name: whether any interface has had one of that name long enough. */
const members = new Map();
for (const interfaces of [data.api, data.javascript.builtins]) {
  for (const [owner, entries] of Object.entries(interfaces)) {
    for (const [name, entry] of Object.entries(entries)) {
      // Names of one plain word, such as `build`, are everybody's: only compound ones say what they are.
      if (name === owner || !/^[a-z]+[A-Z0-9]\w*$/.test(name) || /_(event|static)$/.test(name)) continue;
      members.set(name, members.get(name) || isKnown(entry) !== false);
    }
  }
}

export default {
  meta: { type: "problem", messages: { newer: `“{{name}}” is newer than Chromium ${CHROME}, which OBS embeds` } },
  create(context) {
    const report = (node, name) => context.report({ node, messageId: "newer", data: { name } });
    const global = ({ type, name }) => (type === "Identifier" ? (data.javascript.builtins[name] ?? data.api[name]) : undefined);
    const checkGlobal = ({ callee }) => isKnown(global(callee)) === false && report(callee, callee.name);
    return {
      NewExpression: checkGlobal,
      CallExpression: checkGlobal,
      MemberExpression({ object, property, computed }) {
        if (computed || property.type !== "Identifier") return;
        const { name } = property;
        const owner = global(object);
        const isNew = owner ? isKnown(owner) === false || isKnown(owner[`${name}_static`] ?? owner[name]) === false : members.get(name) === false;
        if (isNew) report(property, name);
      },
    };
  },
};
