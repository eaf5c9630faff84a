// The viewer page, from before a live to its ranking, on scales and with titles of every kind.
import { PHONE, step } from "../support/browser.mjs";
import { until } from "../support/server.mjs";
import { Wire } from "../support/wire.mjs";

const SMALL = { width: 320, height: 640 };
const DESKTOP = { width: 1280, height: 800 };
const LONG = "La très longue épopée des marchands de sable et de brume, édition définitive 🎮";

/** A few notes that agree on some criteres and not on others. */
async function vote(stage, live_id, jeu_id, scores) {
  for (const [fun, graph, duree] of scores) await stage.server.vote({ live_id, jeu_id, fun, graph, duree });
}
const MIXED = [[5, 4, 4], [4, 4, 2], [4, 3, 5], [5, 5, 1], [2, 3, 4]];
const saved = (page) => page.locator('.note-bar[data-status="saved"]').waitFor();
const live = (page) => page.locator('.link-status[data-link="live"]').waitFor();

/** A live with notes, and the page of somebody who rated it. */
async function rated(stage, options = {}) {
  const seeded = await stage.seed(options);
  await vote(stage, seeded.live_id, seeded.jeux[0], MIXED);
  const page = await stage.open(`/${seeded.slug}`);
  await step(page, "fun", 4).check();
  await page.locator('critere-field[data-critere="duree"] .critere__none').click();
  await saved(page);
  return { ...seeded, page };
}

/** A wire to the server of a scene, that ends with it. */
const wireOf = (stage) => Wire.to(stage.server.port, { after: (end) => stage.closing.push(end) });

/** A live that is over, with four jeux that were rated and one that was not. */
async function over(stage) {
  const { slug, live_id, jeux } = await stage.seed({ jeux: ["Ultraroute 94", "Les Brumes de Valmère", "Petite Forge", LONG], open_jeux: "all" });
  await vote(stage, live_id, jeux[0], [[3, 2, 4], [4, 3, 3]]);
  await vote(stage, live_id, jeux[1], MIXED);
  await vote(stage, live_id, jeux[2], [[1, 2, 2]]);
  const page = await stage.open(`/${slug}`);
  await step(page, "fun", 5).check();
  await saved(page);
  await stage.server.api("POST", `admin/lives/${live_id}/close`, { delay_ms: 0 });
  await until("the ranking", async () => (await page.locator(".strip.is-ranking .strip__mean").first().textContent()) === (stage.lang === "fr" ? "3,7" : "3.7"));
  return page;
}

const all = (change) => (bareme) => ({ ...bareme, criteres: bareme.criteres.map(change) });

export default [
  { name: "viewer-open", viewport: PHONE, show: async (stage) => (await rated(stage)).page },
  { name: "viewer-desktop", viewport: DESKTOP, show: async (stage) => (await rated(stage, { open_jeux: "all" })).page },
  {
    name: "viewer-without-script",
    async show(stage) {
      const { slug, live_id, jeux } = await stage.seed();
      await vote(stage, live_id, jeux[0], MIXED);
      // As it is painted first: scripts are allowed, so that axe can look, and none comes.
      const page = await stage.open("/nobody-here");
      await page.route("**/*.js", (route) => route.abort());
      await page.goto(`${stage.server.origin}/${slug}`);
      return page;
    },
  },
  {
    name: "viewer-first-vote",
    async show(stage) {
      const { slug } = await stage.seed();
      const page = await stage.open(`/${slug}`);
      await live(page);
      return page;
    },
  },
  {
    name: "viewer-blind",
    async show(stage) {
      const { slug, live_id, jeux } = await stage.seed({ live: { blind: true } });
      await vote(stage, live_id, jeux[0], MIXED);
      const page = await stage.open(`/${slug}`);
      await live(page);
      return page;
    },
  },
  {
    name: "viewer-incomplete",
    async show(stage) {
      const { slug } = await stage.seed({ bareme: all((critere) => ({ ...critere, optional: false })), live: { minimum_votes: 10 } });
      const page = await stage.open(`/${slug}`);
      await step(page, "fun", 4).check();
      await page.locator('.note-bar[data-status="incomplete"]').waitFor();
      return page;
    },
  },
  {
    name: "viewer-closing",
    async show(stage) {
      const { page, live_id, jeux } = await rated(stage);
      await stage.server.api("POST", `admin/lives/${live_id}/jeux/${jeux[0]}/close`, { delay_ms: 60_000 });
      await page.locator('[data-moment="closing"]').waitFor();
      return page;
    },
  },
  {
    name: "viewer-final",
    async show(stage) {
      const { page, live_id, jeux } = await rated(stage);
      await stage.server.api("POST", `admin/lives/${live_id}/jeux/${jeux[0]}/close`, { delay_ms: 0 });
      await page.locator('[data-moment="final"]').waitFor();
      return page;
    },
  },
  {
    name: "viewer-earlier-jeu",
    async show(stage) {
      const { page, live_id, jeux } = await rated(stage, { open_jeux: "all" });
      await stage.server.api("POST", `admin/lives/${live_id}/current`, { jeu_id: jeux[1] });
      await page.locator(".strip__item.is-current", { hasText: "Valmère" }).waitFor();
      await page.locator(".strip__row").first().click();
      await page.locator(".banner").waitFor();
      return page;
    },
  },
  {
    name: "viewer-offline",
    async show(stage) {
      const { slug, live_id, jeux } = await stage.seed();
      await vote(stage, live_id, jeux[0], MIXED);
      const wire = await wireOf(stage);
      const page = await stage.open(`${wire.origin}/${slug}`);
      await live(page);
      wire.cut();
      await page.locator('.link-status[data-link="lost"]').waitFor();
      await step(page, "fun", 5).check();
      await page.locator('.note-bar[data-status="kept"]').waitFor();
      return page;
    },
  },
  {
    name: "viewer-refused",
    viewport: SMALL,
    async show(stage) {
      const { slug, live_id, jeux } = await stage.seed();
      const wire = await wireOf(stage);
      const page = await stage.open(`${wire.origin}/${slug}`);
      await live(page);
      wire.cut();
      await page.locator('.link-status[data-link="lost"]').waitFor();
      await step(page, "fun", 5).check();
      await stage.server.api("POST", `admin/lives/${live_id}/jeux/${jeux[0]}/close`, { delay_ms: 0 });
      wire.mend();
      await page.locator('.note-bar[data-status="refused"]').waitFor();
      return page;
    },
  },
  {
    name: "viewer-halves",
    async show(stage) {
      const { slug, live_id, jeux } = await stage.seed({ preset: 1 });
      for (const note of [5, 4.5, 3, 4.5, 4, 2.5]) await stage.server.vote({ live_id, jeu_id: jeux[0], note });
      const page = await stage.open(`/${slug}`);
      await step(page, "note", 3.5).check();
      await saved(page);
      return page;
    },
  },
  {
    name: "viewer-out-of-ten",
    async show(stage) {
      const { slug, live_id, jeux } = await stage.seed({ preset: 2 });
      for (const note of [10, 9, 7, 8, 8, 3]) await stage.server.vote({ live_id, jeu_id: jeux[0], note });
      const page = await stage.open(`/${slug}`);
      await step(page, "note", 8).check();
      await saved(page);
      return page;
    },
  },
  {
    name: "viewer-out-of-twenty",
    async show(stage) {
      const { slug, live_id, jeux } = await stage.seed({ preset: 3 });
      await vote(stage, live_id, jeux[0], [[12, 15, 8], [14, 17, 19], [18, 3, 20], [13, 15, 9], [12, 14, 11]]);
      const page = await stage.open(`/${slug}`);
      await page.getByRole("slider", { name: "Fun" }).press("ArrowRight");
      await saved(page);
      return page;
    },
  },
  {
    name: "viewer-twelve-criteres",
    viewport: SMALL,
    async show(stage) {
      const twelve = (bareme) => ({
        ...bareme,
        criteres: Array.from({ length: 12 }, (_, index) => ({ ...bareme.criteres[index % bareme.criteres.length], key: `c${index}`, labels: { fr: `Qualité de la narration émergente nº ${index + 1}`, en: `Quality of the emergent narration no. ${index + 1}` } })),
      });
      const { slug } = await stage.seed({ title: "Une chaîne dont le nom n’en finit pas de finir", jeux: [LONG, "عنوان اللعبة ١٢٣"], bareme: twelve, open_jeux: "all" });
      const page = await stage.open(`/${slug}`);
      await step(page, "c0", 3).check();
      await saved(page);
      return page;
    },
  },
  {
    name: "viewer-right-to-left",
    async show(stage) {
      const { slug } = await stage.seed({ title: "قناة الألعاب", jeux: ["عنوان اللعبة ١٢٣", "Petite Forge"] });
      const page = await stage.open(`/${slug}`);
      await step(page, "fun", 3).check();
      await saved(page);
      return page;
    },
  },
  { name: "viewer-ranking", show: over },
  { name: "viewer-ranking-desktop", viewport: DESKTOP, show: over },
  {
    name: "viewer-result",
    async show(stage) {
      const page = await over(stage);
      await page.locator(".strip__row", { hasText: "Ultraroute" }).click();
      await page.locator(".jeu-head__title", { hasText: "Ultraroute" }).waitFor();
      return page;
    },
  },
  {
    name: "viewer-before",
    async show(stage) {
      const { slug } = await stage.seed({ open_jeux: null });
      const page = await stage.open(`/${slug}`);
      await live(page);
      return page;
    },
  },
  {
    name: "viewer-soon",
    async show(stage) {
      const { slug } = await stage.seed({ open_jeux: "none" });
      const page = await stage.open(`/${slug}`);
      await live(page);
      return page;
    },
  },
  {
    name: "viewer-gone",
    async show(stage) {
      const { slug, live_id } = await stage.seed();
      const page = await stage.open(`/${slug}`);
      await live(page);
      await stage.server.api("POST", `admin/lives/${live_id}/close`, { delay_ms: 0 });
      await stage.server.api("DELETE", `admin/channels/${slug}?confirm=${slug}`);
      await page.locator('.link-status[data-link="gone"]').waitFor();
      return page;
    },
  },
];
