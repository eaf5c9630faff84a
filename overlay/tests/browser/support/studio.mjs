// The tabs of the admin page around the console: a stage with somebody signed in, and lives with votes.
import { DOCK } from "./browser.mjs";
import { Stage } from "./scenes.mjs";
import { until } from "./server.mjs";

export const CLIPBOARD = { permissions: ["clipboard-read", "clipboard-write"] };

/** The admin page in a dock, on one of its tabs. Closes with the test `t`. */
export async function onTab(t, { server, browser, slug, tab, ...more }) {
  const stage = new Stage({ server, browser, scene: { viewport: DOCK }, lang: "fr", scheme: "dark" });
  t.after(() => stage.close());
  return openTab(await stage.admin(slug, { ...CLIPBOARD, ...more }), tab);
}

/** Signs in over the API, when the server lets one try; its session's cookie is `cookie`. */
export async function signIn(server, name, password) {
  const attempt = () => fetch(`${server.origin}/api/admin/login`, { method: "POST", headers: { "Content-Type": "application/json", Origin: server.origin }, body: JSON.stringify({ name, password }) });
  const isLetTry = async () => {
    const answer = await attempt();
    return answer.status !== 429 && answer;
  };
  const answer = await until("an attempt to sign in", isLetTry, 20_000, 500);
  const cookie = answer.headers.getSetCookie().find((set) => set.startsWith("bareme_session="))?.split(";")[0] ?? "";
  return { status: answer.status, cookie, ...(await answer.json()) };
}

/** Whether a session's cookie still opens anything. */
export const sessionStatus = (server, cookie) => fetch(`${server.origin}/api/admin/session`, { headers: { Cookie: cookie } }).then(({ status }) => status);

/** A live on air brings its own tab to the front once its state is there: only then another one stays. */
export async function openTab(page, tab) {
  await page.locator('[data-air="live"], [data-air="idle"], [data-air="test"]').first().waitFor();
  await page.locator(`[data-tab="${tab}"]`).click();
  await page.locator(`[data-panel="${tab}"]`).waitFor();
  return page;
}

export const clipboard = (page) => page.evaluate(() => navigator.clipboard.readText());

/** Closes the live of a channel at once. */
export const endLive = (server, live_id) => server.api("POST", `admin/lives/${live_id}/close`, { delay_ms: 0 });

/** Another live of a channel, on a bareme of its own. */
export async function anotherLive(server, slug, { title, jeux, preset = 1, open_jeux = "all", ...more }) {
  const presets = await server.api("GET", "admin/bareme-presets");
  const { bareme_id } = await server.api("POST", `admin/channels/${slug}/baremes`, presets[preset]);
  const { live_id } = await server.api("POST", `admin/channels/${slug}/lives`, { title, bareme_id, jeux, ...more });
  await server.api("POST", `admin/lives/${live_id}/open`, { open_jeux });
  return { live_id, criteres: presets[preset].criteres };
}
