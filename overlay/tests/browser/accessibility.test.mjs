// Every scene, in both languages and both colour schemes, by the rules of axe: WCAG 2 up to AA, and its best practices.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { openBrowser } from "./support/browser.mjs";
import { allScenes, LANGS, onStage } from "./support/scenes.mjs";
import { Server } from "./support/server.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
});
after(async () => {
  await browser.close();
  await server.stop();
});

/** What axe finds, one line for each element. */
async function violations(page, rules) {
  const found = await page.evaluate(async (only) => {
    const options = { iframes: false, resultTypes: ["violations"], ...(only && { runOnly: { type: "rule", values: only } }) };
    return (await globalThis.axe.run(document, options)).violations;
  }, rules);
  return found.flatMap(({ id, help, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${help}: ${target} ${failureSummary}`));
}

for (const scene of await allScenes()) {
  test(`${scene.name} has no accessibility violation`, async () => {
    for (const lang of scene.langs ?? LANGS) {
      const [scheme, other] = scene.schemes ?? ["light", "dark"];
      await onStage({ server, browser, scene, lang, scheme }, async (page) => {
        // In the page's own world, past its content policy, which forbids scripts of others.
        await page.evaluate(AXE);
        assert.deepEqual(await violations(page), [], `${lang}, ${scheme}`);
        if (!other) return;
        await page.emulateMedia({ colorScheme: other });
        // Colours are all that another scheme changes.
        assert.deepEqual(await violations(page, ["color-contrast"]), [], `${lang}, ${other}`);
      });
    }
  });
}
