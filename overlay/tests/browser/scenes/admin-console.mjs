// The admin page: the door, the first run, preparing and driving a live.
import { DOCK, PHONE } from "../support/browser.mjs";

const NARROW = { width: 320, height: 640 };
const DESK = { width: 1280, height: 800 };

const LONG = "Die außerordentlich lange Reise des Kapitäns Nemo durch siebenundzwanzig Meere, zweiter Teil";
const MANY = [
  LONG, "Ultraroute 94", "Les Brumes de Valmère", "Petite Forge", "Le Dernier Phare", "Kart Abyssal", "مدينة الرياح", "Supercalifragilisticexpialidocious-Remastered-Definitive-Edition",
  ...Array.from({ length: 12 }, (_, index) => `Jeu de la liste ${index + 9}`),
];

const title = (page) => page.locator(".jeu-card.is-large .jeu-card__title");
const tab = (page, name) => page.locator(`[data-tab="${name}"]`).click();

/** A live on air with votes on its first jeu, and its console. */
async function onAir(stage, options) {
  const seeded = await stage.seed(options);
  for (const [fun, graph, duree] of [[5, 4, 3], [4, 4, 2], [4, 3, 5], [3, 5, 4]]) await stage.server.vote({ live_id: seeded.live_id, jeu_id: seeded.jeux[0], fun, graph, duree });
  const page = await stage.admin(seeded.slug, { role: options?.role });
  await title(page).waitFor();
  await page.locator(".jeu-card.is-large .jeu-card__value", { hasText: /^4$/ }).waitFor();
  await page.locator(".top__time").waitFor();
  return { ...seeded, page };
}

/** Several open, one of them closing. */
async function busy(stage) {
  const { page, live_id, jeux, slug } = await onAir(stage, { jeux: MANY });
  await stage.server.api("PATCH", `admin/channels/${slug}`, { close_delay_ms: 100_000 });
  for (const jeu of [jeux[6], jeux[1]]) await stage.server.api("POST", `admin/lives/${live_id}/jeux/${jeu}/open`);
  await stage.server.api("POST", `admin/lives/${live_id}/jeux/${jeux[0]}/close`);
  await page.locator(`.jeu-card[data-jeu="${jeux[0]}"][data-moment="closing"]`).waitFor();
  await page.locator(`.programme__row[data-id="${jeux[3]}"] .programme__head`).click();
  await page.locator(".programme__more").waitFor();
  return page;
}

async function ended(stage) {
  const { page, live_id } = await onAir(stage);
  await stage.server.api("POST", `admin/lives/${live_id}/close`, { delay_ms: 0 });
  await page.locator(".idle__row").first().waitFor();
  return page;
}

async function firstRun(stage) {
  const server = await stage.emptyServer({ withToken: false });
  const page = await stage.open(await server.setupLink());
  await page.locator("admin-start form").waitFor();
  return page;
}

async function emptyChannel(stage) {
  const { slug } = await stage.seed({ jeux: ["Un"], open_jeux: null });
  const page = await stage.admin(slug);
  await page.locator(".tabs").waitFor();
  return page;
}

async function editor(stage) {
  const page = await emptyChannel(stage);
  await tab(page, "prepare");
  const bareme = page.locator("bareme-editor details").first();
  await bareme.locator("summary").first().click();
  await bareme.locator("critere-field").first().waitFor();
  await bareme.locator(".critere-edit > summary").first().click();
  await bareme.locator('[data-name="step"]').first().fill("3");
  await bareme.locator("button[type=submit]").click();
  await bareme.locator("[aria-invalid]").waitFor();
  return page;
}

export default [
  { name: "admin-first-run", viewport: DOCK, show: firstRun },
  {
    name: "admin-no-link",
    viewport: DOCK,
    async show(stage) {
      const server = await stage.emptyServer({ withToken: false });
      const page = await stage.open(`${server.origin}/admin`);
      await page.locator("admin-signin h1").waitFor();
      return page;
    },
  },
  {
    name: "admin-sign-in",
    viewport: PHONE,
    async show(stage) {
      const { slug } = await stage.seed({ open_jeux: null });
      await stage.admin(slug);
      const page = await stage.open("/admin");
      await page.locator("admin-signin [name=name]").fill("scenes-admin");
      await page.locator("admin-signin [name=password]").fill("pas le bon mot de passe");
      await page.keyboard.press("Enter");
      await page.locator("admin-signin .problem:not(:empty)").waitFor();
      return page;
    },
  },
  ...Object.entries({ "": PHONE, "-narrow": NARROW, "-desk": DESK }).map(([size, viewport]) => ({
    name: `admin-sign-in-passkey${size}`,
    viewport,
    async show(stage) {
      const { slug } = await stage.seed({ open_jeux: null });
      await stage.admin(slug);
      const page = await stage.open(`${stage.server.named}/admin`);
      await page.locator(".door__passkey").waitFor();
      return page;
    },
  })),
  {
    name: "admin-nothing-on-air",
    viewport: DOCK,
    async show(stage) {
      const page = await emptyChannel(stage);
      await tab(page, "live");
      await page.locator("admin-idle .row").waitFor();
      return page;
    },
  },
  { name: "admin-live", viewport: DOCK, show: async (stage) => (await onAir(stage)).page },
  { name: "admin-live-narrow", viewport: NARROW, show: async (stage) => (await onAir(stage)).page },
  { name: "admin-live-desk", viewport: DESK, show: async (stage) => (await onAir(stage)).page },
  { name: "admin-live-moderator", viewport: PHONE, show: async (stage) => (await onAir(stage, { role: "moderator" })).page },
  { name: "admin-busy", viewport: DOCK, show: busy },
  { name: "admin-busy-desk", viewport: DESK, show: busy },
  {
    name: "admin-ending",
    viewport: DOCK,
    async show(stage) {
      const { page, live_id } = await onAir(stage);
      await stage.server.api("POST", `admin/lives/${live_id}/close`, { delay_ms: 100_000 });
      await page.locator(".stage-panel__ends").waitFor();
      return page;
    },
  },
  { name: "admin-ended", viewport: DOCK, show: ended },
  {
    name: "admin-lost",
    viewport: DOCK,
    async show(stage) {
      stage.server = await stage.emptyServer();
      const { page } = await onAir(stage);
      await stage.server.kill();
      await page.locator(".lost").waitFor();
      return page;
    },
  },
  {
    name: "admin-test-mode",
    viewport: DOCK,
    async show(stage) {
      const page = await emptyChannel(stage);
      await tab(page, "live");
      await page.locator(".switch").click();
      await page.locator(".test-mode__running").waitFor();
      await title(page).waitFor();
      return page;
    },
  },
  {
    name: "admin-shortcuts",
    viewport: DOCK,
    async show(stage) {
      const { page } = await onAir(stage);
      await page.keyboard.press("?");
      await page.locator("dialog.help[open]").waitFor();
      return page;
    },
  },
  { name: "admin-prepare", viewport: DOCK, show: editor },
  { name: "admin-prepare-desk", viewport: DESK, show: editor },
];
