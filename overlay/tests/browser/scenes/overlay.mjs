// The overlay: every theme and moment at the sizes people give it in OBS, over bright and dark video.
import { OBS, overlayVotes } from "../support/browser.mjs";
import { behind, onStage, THEMES, WINDOWS } from "../support/overlay.mjs";
import { until } from "../support/server.mjs";

/** States of the demo: the card shows them all, the other themes those they show in a way of their own. */
const STATES = ["pending", "open", "closing", "finalising", "final", "ranking", "stale", "minimum", "blind", "test"];
const SHOWN = {
  hd: { card: STATES, band: ["open", "closing", "final", "stale", "blind"], pill: ["open", "closing", "final", "stale", "blind"] },
  obs: { card: ["open", "final", "ranking", "blind"], band: ["open"], pill: ["open"] },
  narrow: { card: ["open", "final", "ranking"], band: ["open"], pill: ["open"] },
};

const demo = (size, theme, state, query = "") => ({
  name: `overlay-${size}-${theme}-${state}${query && "-qr"}`,
  viewport: WINDOWS[size],
  schemes: ["light"],
  async show(stage) {
    const slug = query ? (await stage.seed({ open_jeux: null })).slug : "demo";
    const page = await stage.open(`/overlay/${slug}?demo=${state}&theme=${theme}&lang=${stage.lang}${query}`);
    await behind(page, (STATES.indexOf(state) + THEMES.indexOf(theme)) % 2 ? "bright" : "dark");
    await onStage(page);
    return page;
  },
});

const scenes = Object.entries(SHOWN).flatMap(([size, themes]) =>
  Object.entries(themes).flatMap(([theme, states]) => states.map((state) => demo(size, theme, state))),
);

export default [
  ...scenes,
  ...THEMES.map((theme) => demo("hd", theme, "open", "&qr=on")),
  demo("obs", "card", "final", "&qr=idle"),
  demo("narrow", "card", "open", "&qr=on"),
  {
    name: "overlay-refused",
    viewport: OBS,
    schemes: ["light"],
    async show(stage) {
      const { slug } = await stage.seed({ open_jeux: null });
      const page = await stage.open(`/overlay/${slug}?key=wrong&lang=${stage.lang}`);
      await page.locator(".overlay__notice.is-problem").waitFor();
      return page;
    },
  },
  {
    name: "overlay-real-votes",
    viewport: OBS,
    schemes: ["light"],
    async show(stage) {
      const { overlay, live_id, jeux } = await stage.seed();
      for (const fun of [5, 4, 4, 3]) await stage.server.vote({ live_id, jeu_id: jeux[0], fun, graph: 4, duree: 4 });
      const page = await stage.open(`${overlay}&lang=${stage.lang}`);
      await until("the votes", async () => (await overlayVotes(page).textContent())?.startsWith("4"));
      return page;
    },
  },
];
