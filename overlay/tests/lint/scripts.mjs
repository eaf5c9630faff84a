// ESLint with the Chromium of OBS as its target: syntax, globals and members.
import { ESLint } from "eslint";
import compat from "eslint-plugin-compat";
import { fileURLToPath } from "node:url";
import { CHROME } from "./chrome.mjs";
import newer from "./newer.mjs";

export const PAGES = fileURLToPath(new URL("../../", import.meta.url));

const eslint = new ESLint({
  cwd: PAGES,
  overrideConfigFile: true,
  overrideConfig: [
    {
      files: ["**/*.js"],
      // What Chromium 127 reads of ECMAScript; anything newer does not parse.
      languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: { window: "readonly", document: "readonly" } },
      linterOptions: { reportUnusedDisableDirectives: "error" },
      plugins: { compat, bareme: { rules: { newer } } },
      settings: { targets: [`chrome ${CHROME}`], lintAllEsApis: true },
      rules: { "compat/compat": "error", "bareme/newer": "error", eqeqeq: "error", "no-var": "error", "prefer-const": "error", "no-unused-expressions": "error", "no-eval": "error", "no-implied-eval": "error" },
    },
  ],
});

const lines = (results) => results.flatMap(({ filePath, messages }) => messages.map(({ line, message }) => `${filePath.replace(PAGES, "")}:${line} ${message}`));

/** @param {string} text */
export const lintScript = async (text) => lines(await eslint.lintText(text, { filePath: "example.js" }));
/** @param {string[]} folders */
export const lintScripts = async (folders) => lines(await eslint.lintFiles(folders));
