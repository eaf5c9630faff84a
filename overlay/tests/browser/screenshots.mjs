// Takes a picture of every scene in every language and colour scheme: node browser/screenshots.mjs FOLDER [PART OF A NAME]
import { mkdirSync } from "node:fs";
import path from "node:path";
import { openBrowser } from "./support/browser.mjs";
import { allScenes, LANGS, onStage, SCHEMES } from "./support/scenes.mjs";
import { Server } from "./support/server.mjs";

const [folder = "screenshots", part = ""] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const [server, browser] = await Promise.all([Server.start(), openBrowser()]);
let taken = 0;
try {
  for (const scene of await allScenes()) {
    for (const lang of scene.langs ?? LANGS) {
      for (const scheme of scene.schemes ?? SCHEMES) {
        const name = `${scene.name}-${lang}-${scheme}`;
        if (!name.includes(part)) continue;
        await onStage({ server, browser, scene, lang, scheme }, (page) =>
          page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: !scene.name.startsWith("overlay") }),
        );
        taken += 1;
        console.log(name);
      }
    }
  }
} finally {
  await browser.close();
  await server.stop();
}
console.log(`${taken} pictures in ${path.resolve(folder)}`);
