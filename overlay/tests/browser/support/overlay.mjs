// The overlay as tests and scenes look at it: its themes, the sizes of its window, and video behind it.
import { until } from "./server.mjs";

export const THEMES = ["card", "band", "pill"];
export const WINDOWS = {
  hd: { width: 1920, height: 1080 },
  obs: { width: 800, height: 600 },
  narrow: { width: 400, height: 700 },
};

/** A bright and a dark picture where the video would be. */
const VIDEO = {
  bright: "linear-gradient(135deg, #dfe9ef, #ffffff 35%, #f3dca0 70%, #b7d7f0)",
  dark: "linear-gradient(135deg, #0b1622, #20343a 40%, #3c2a20)",
};

/** @param {import("playwright-core").Page} page @param {'bright'|'dark'} video */
export function behind(page, video) {
  return page.addStyleTag({ content: `html { min-height: 100vh; background: ${VIDEO[video]}; }` });
}

/** Waits until a panel stands where it belongs, with its own letters. */
export async function onStage(page) {
  await page.locator(".overlay__stage > :not([hidden])").first().waitFor();
  const fills = () => Math.abs(document.querySelector(".overlay__stage").getBoundingClientRect().width - innerWidth * 0.9) < 1;
  await until("the stage fills the window", () => page.evaluate(fills));
  await page.evaluate(() => document.fonts.ready);
  await until("nothing moves", () => page.evaluate(() => document.getAnimations().every(({ playState }) => playState !== "running")));
  return page;
}
