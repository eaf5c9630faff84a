// Pages without a script: the front page, addresses nothing answers to.
import { PHONE } from "../support/browser.mjs";

const DESKTOP = { width: 1280, height: 800 };

/** A live on air with some votes, whose channel has a name, and nothing else: these pages list all that is on air. */
async function onAir(stage) {
  stage.server = await stage.emptyServer();
  const { live_id, jeux } = await stage.seed({ title: "Max joue", live: { title: "Soirée découvertes" } });
  for (const fun of [3, 4, 5]) await stage.server.vote({ live_id, jeu_id: jeux[0], fun });
}

export default [
  { name: "home-empty", viewport: PHONE, show: async (stage) => stage.open((await stage.emptyServer()).origin) },
  {
    name: "home-lives",
    viewport: PHONE,
    async show(stage) {
      await onAir(stage);
      return stage.open("/");
    },
  },
  {
    name: "home-desktop",
    viewport: DESKTOP,
    async show(stage) {
      await onAir(stage);
      return stage.open("/");
    },
  },
  {
    name: "missing-channel",
    viewport: PHONE,
    async show(stage) {
      await onAir(stage);
      return stage.open("/nobody-here");
    },
  },
];
