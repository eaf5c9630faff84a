// Every scene of the console at every size it has to fit.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openBrowser } from "./support/browser.mjs";
import { onStage } from "./support/scenes.mjs";
import { Server } from "./support/server.mjs";
import scenes from "./scenes/admin-console.mjs";

const WIDTHS = [320, 400, 390, 1280];

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
});
after(async () => {
  await browser.close();
  await server.stop();
});

/** Controls one has to hit with a finger that are smaller than 44 px, and what sticks out of the page. */
function misfits() {
  const wide = document.documentElement.scrollWidth > innerWidth ? [`the page is ${document.documentElement.scrollWidth} px wide`] : [];
  const controls = [...document.querySelectorAll("button, a[href], select, input, textarea, summary, .check")].filter((element) =>
    element.checkVisibility() && !element.closest("[aria-hidden=true], .bareme-preview") && !element.matches(".check input"));
  const small = controls.filter((element) => {
    const { width, height } = element.getBoundingClientRect();
    return Math.round(height) < 44 || Math.round(width) < 44;
  });
  const out = controls.filter((element) => element.getBoundingClientRect().right > innerWidth + 1);
  const name = (element) => `${element.tagName} ${element.className} ${element.textContent.slice(0, 30)} ${Math.round(element.getBoundingClientRect().width)}×${Math.round(element.getBoundingClientRect().height)}`;
  return [...wide, ...small.map((element) => `small: ${name(element)}`), ...out.map((element) => `out: ${name(element)}`)];
}

for (const scene of scenes) {
  test(`${scene.name} fits ${WIDTHS.join(", ")} px, and fingers`, async () => {
    for (const lang of ["fr", "en"]) {
      await onStage({ server, browser, scene, lang, scheme: "dark" }, async (page) => {
        for (const width of WIDTHS) {
          await page.setViewportSize({ width, height: 800 });
          assert.deepEqual(await page.evaluate(misfits), [], `${lang}, ${width} px`);
        }
      });
    }
  });
}
