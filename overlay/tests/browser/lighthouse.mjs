// Lighthouse with its mobile preset, in Debian's Chromium, on the pages that people open on a phone.
import { launch } from "chrome-launcher";
import lighthouse from "lighthouse";
import { Server } from "./support/server.mjs";

const LEAST = { performance: 95, accessibility: 100, "best-practices": 100 };
/** Performance is measured, and the machine has other things to do: the median counts. */
const RUNS = 3;

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

async function audit(url, port, attempts = 3) {
  const { lhr } = await lighthouse(url, { port, output: "json", logLevel: "error", onlyCategories: Object.keys(LEAST) });
  // Now and then the trace of a busy machine lacks its beginning, which says nothing about the page.
  if (lhr.runtimeError && attempts > 1) return audit(url, port, attempts - 1);
  if (lhr.runtimeError) throw new Error(lhr.runtimeError.message);
  const scores = Object.fromEntries(Object.entries(lhr.categories).map(([name, { score }]) => [name, Math.round(score * 100)]));
  const failed = Object.values(lhr.audits).filter(({ score, scoreDisplayMode }) => score !== null && score < 1 && scoreDisplayMode === "binary");
  const paint = Math.round(lhr.audits["first-contentful-paint"].numericValue);
  return { scores, paint, failed: failed.map(({ id, title }) => `${id}: ${title}`) };
}

const server = await Server.start();
const chrome = await launch({
  chromePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  chromeFlags: ["--headless", "--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update"],
});
const misses = [];
try {
  const { live_id, jeux } = await server.seed();
  for (const fun of [5, 4, 4, 3, 1]) await server.vote({ live_id, jeu_id: jeux[0], fun, graph: 4, duree: 2 });
  for (const [name, path] of [["viewer page with an open live", "/max"], ["front page", "/"]]) {
    const runs = [];
    for (let run = 0; run < RUNS; run += 1) runs.push(await audit(server.origin + path, chrome.port));
    const scores = Object.fromEntries(Object.keys(LEAST).map((category) => [category, median(runs.map((run) => run.scores[category]))]));
    console.log(`${name}: ${JSON.stringify(scores)}, first contentful paint ${median(runs.map(({ paint }) => paint))} ms (simulated slow 4G)`);
    for (const [category, least] of Object.entries(LEAST)) {
      if (scores[category] < least) misses.push(`${name}: ${category} is ${scores[category]}, wanted ${least}; ${runs[0].failed.join("; ")}`);
    }
  }
} finally {
  await chrome.kill();
  await server.stop();
}
for (const miss of misses) console.error(miss);
process.exitCode = misses.length > 0 ? 1 : 0;
