// Checks everything that pages load against the Chromium that OBS embeds: node lint/lint.mjs
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { lintScripts, PAGES } from "./scripts.mjs";
import { lintStyles } from "./styles.mjs";

const FOLDERS = ["lib", "pages", "components", "styles"];
const files = FOLDERS.flatMap((folder) => readdirSync(path.join(PAGES, folder), { recursive: true }).map((file) => path.join(folder, String(file))));
const sheets = files.filter((file) => file.endsWith(".css"));
const found = [
  ...(await lintScripts(FOLDERS.filter((folder) => folder !== "styles"))),
  ...sheets.flatMap((file) => lintStyles(readFileSync(path.join(PAGES, file), "utf8"), file)),
];
for (const line of found) console.error(line);
if (found.length > 0) process.exit(1);
