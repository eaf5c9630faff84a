// The admin page around the console: links and the overlay's builder, results, access. And a live's public results.
import { DOCK, PHONE } from "../support/browser.mjs";
import { anotherLive, endLive, openTab } from "../support/studio.mjs";
import { until } from "../support/server.mjs";

const DESKTOP = { width: 1280, height: 900 };
const NARROW = { width: 320, height: 700 };
const LONG = "Les Chroniques interminables de la Forteresse oubliée, édition définitive remasterisée";

/** A live with votes on its first two jeux. */
async function voted(stage, more = {}) {
  const seeded = await stage.seed({ open_jeux: "all", jeux: ["Ultraroute 94", LONG, "Petite Forge"], ...more });
  for (const [index, fun] of [5, 4, 4, 2, 5, 3].entries()) {
    await stage.server.vote({ live_id: seeded.live_id, jeu_id: seeded.jeux[index % 2], fun, graph: 1 + (index % 5), duree: 4 });
  }
  return seeded;
}

/** Two lives of one channel, the first one over. */
async function history(stage) {
  const first = await voted(stage);
  await endLive(stage.server, first.live_id);
  const second = await anotherLive(stage.server, first.slug, { title: "Rejouer les classiques", jeux: [first.jeux[0], first.jeux[1]] });
  const [{ key }] = second.criteres;
  for (const score of [3.5, 4.5, 4]) await stage.server.vote({ live_id: second.live_id, jeu_id: first.jeux[0], [key]: score });
  return first;
}

/** One tab of the admin page. `make` prepares a channel, `then` waits for what the scene is about. */
const tab = (name, tabName, viewport, make, then, options = {}) => ({
  name,
  viewport,
  // The page of the booth is dark in both schemes.
  schemes: ["dark"],
  async show(stage) {
    const { slug } = await make(stage);
    const page = await openTab(await stage.admin(slug, typeof options === "function" ? options(stage) : options), tabName);
    await then(page);
    return page;
  },
});

const built = (page) => page.frameLocator(".preview__frame").locator(".overlay__panel > .panel").waitFor();
const ranked = (page) => page.locator(".ranking__row").first().waitFor();
const peopled = (page) => page.locator("admin-access .key").first().waitFor();

/** At the name that passkeys are for, with some passkeys. */
const withPasskeys = (stage) => ({
  origin: stage.server.named,
  prepare: (context) => context.route("**/api/admin/passkeys", (route) => route.fulfill({ json: [
    { passkey_id: "a", name: "Téléphone", created_at_us: 1_790_000_000_000_000, used_at_us: 1_795_000_000_000_000, party: "localhost", may_sync: true },
    { passkey_id: "b", name: LONG, created_at_us: 1_791_000_000_000_000, used_at_us: null, party: "vote.example.org", may_sync: false },
  ] })),
});
const keyed = async (page) => {
  await page.locator("admin-passkeys .key").first().waitFor();
  await page.locator("admin-passkeys summary").click();
};

async function unfolded(page) {
  await ranked(page);
  await page.locator("summary.ranking__row").first().click();
  await page.locator("lives-compare summary").click();
  await page.locator("lives-compare table").first().waitFor();
  await page.locator(".live-results details.more > summary").first().click();
}

/** A channel without anything. */
async function bare(stage) {
  const { slug, live_id, key } = await stage.seed({ open_jeux: null });
  await stage.server.api("DELETE", `admin/lives/${live_id}`);
  await stage.server.api("DELETE", `admin/channels/${slug}/overlay-keys/${key.key_id}`);
  return { slug };
}

export default [
  tab("admin-links", "links", DOCK, voted, built),
  tab("admin-links-desktop", "links", DESKTOP, voted, built),
  tab("admin-links-narrow", "links", NARROW, voted, built),
  tab("admin-links-empty", "links", DOCK, bare, built),
  tab("admin-links-moderator", "links", DOCK, voted, built, { role: "moderator" }),
  tab("admin-links-css", "links", DOCK, voted, async (page) => {
    await built(page);
    await page.locator("admin-builder details > summary").click();
  }),
  tab("admin-qr", "links", DESKTOP, voted, async (page) => {
    await page.locator(".qr__tools button").click();
    await page.locator("dialog.qr-show[open]").waitFor();
  }),
  tab("admin-results", "results", DOCK, voted, ranked),
  tab("admin-results-compare", "results", DOCK, history, unfolded),
  tab("admin-results-desktop", "results", DESKTOP, history, unfolded),
  tab("admin-results-narrow", "results", NARROW, history, unfolded),
  tab("admin-results-empty", "results", DOCK, bare, (page) => page.locator("admin-results .empty").waitFor()),
  tab("admin-share", "results", DOCK, voted, async (page) => {
    await ranked(page);
    await page.locator(".live-results__files .is-main").click();
    await page.locator("dialog.share[open] [data-drawn]").waitFor();
  }),
  tab("admin-access", "access", DOCK, voted, peopled),
  tab("admin-access-desktop", "access", DESKTOP, voted, peopled),
  tab("admin-access-forms", "access", NARROW, voted, async (page) => {
    await peopled(page);
    for (const summary of await page.locator("admin-access summary").all()) await summary.click();
  }),
  tab("admin-passkeys", "access", DOCK, voted, keyed, withPasskeys),
  tab("admin-passkeys-narrow", "access", NARROW, voted, keyed, withPasskeys),
  tab("admin-passkeys-phone", "access", PHONE, voted, keyed, withPasskeys),
  tab("admin-passkeys-desktop", "access", DESKTOP, voted, keyed, withPasskeys),
  tab("admin-passkeys-confirm", "access", DOCK, voted, async (page) => {
    await page.locator("admin-passkeys .key").first().waitFor();
    const problem = { status: 403, code: "confirm_required", rule: "confirm_required", params: { max_s: 600 }, reason: "x", remedy: "x" };
    await page.route("**/api/admin/second-factor", (route) => route.request().method() === "POST" ? route.fulfill({ status: 403, contentType: "application/problem+json", body: JSON.stringify(problem) }) : route.fallback());
    await page.locator("admin-factor button").first().click();
    await page.locator("dialog.confirm[open] .confirm__passkey").waitFor();
  }, withPasskeys),
  tab("admin-access-factor", "access", DOCK, voted, async (page) => {
    const factor = page.locator("admin-factor");
    await factor.locator("button").first().click();
    const again = page.locator("dialog.confirm[open]");
    await factor.locator(".factor__qr").or(again).waitFor();
    // Scenes share a session, which may have been there for long.
    if (await again.isVisible()) {
      await again.locator("[name=password]").fill("une phrase assez longue");
      await again.locator("[type=submit]").click();
    }
    await factor.locator(".factor__qr").waitFor();
  }),
  tab("admin-confirm", "access", DOCK, voted, async (page) => {
    const problem = { status: 403, code: "confirm_required", rule: "confirm_required", params: { max_s: 600 }, reason: "x", remedy: "x" };
    await page.route("**/api/admin/second-factor", (route) => route.request().method() === "POST" ? route.fulfill({ status: 403, contentType: "application/problem+json", body: JSON.stringify(problem) }) : route.fallback());
    await page.locator("admin-factor button").first().click();
    await page.locator("dialog.confirm[open]").waitFor();
  }),
  tab("admin-access-moderator", "access", DOCK, voted, (page) => page.locator(".person__role").waitFor(), { role: "moderator" }),
  {
    name: "results-page",
    viewport: PHONE,
    async show(stage) {
      const { slug, live_id } = await voted(stage);
      await endLive(stage.server, live_id);
      await until("results", async () => (await stage.server.api("GET", `lives/${live_id}/results`)).jeux.every(({ phase }) => phase === "final"));
      const page = await stage.open(`/${slug}/${live_id}`);
      await page.locator(".ranking__row").first().waitFor();
      return page;
    },
  },
  {
    name: "results-page-desktop",
    viewport: DESKTOP,
    async show(stage) {
      const { slug, live_id } = await voted(stage, { live: { minimum_votes: 4 } });
      return stage.open(`/${slug}/${live_id}`);
    },
  },
];
