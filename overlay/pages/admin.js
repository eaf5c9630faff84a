// @ts-check
/** The page of the streamer: signs in, then drives the lives of a channel. */
import { AdminAccess } from "../components/admin-access/admin-access.js";
import { AdminChannels } from "../components/admin-channels/admin-channels.js";
import { AdminLinks } from "../components/admin-links/admin-links.js";
import { AdminPrepare } from "../components/admin-prepare/admin-prepare.js";
import { AdminProgramme } from "../components/admin-programme/admin-programme.js";
import { AdminResults } from "../components/admin-results/admin-results.js";
import { AdminSignin } from "../components/admin-signin/admin-signin.js";
import { AdminStage } from "../components/admin-stage/admin-stage.js";
import { BaremeEditor } from "../components/bareme-editor/bareme-editor.js";
import { LinkStatus } from "../components/link-status/link-status.js";
import { Admin } from "../lib/admin.js";
import { problemWords } from "../lib/actions.js";
import { Countdown } from "../lib/countdown.js";
import { h, oncePerFrame, setText } from "../lib/dom.js";
import { createFormat } from "../lib/format.js";
import { createTexts } from "../lib/i18n.js";
import { pageData } from "../lib/page.js";

const { base, lang, build } = pageData();
const setupToken = takeSetupToken();
const t = createTexts((await import(`../messages/${lang}.js`)).default, lang);
const format = createFormat(lang);

/** The set-up secret is read once and leaves the address bar at once: screens get streamed. */
function takeSetupToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("setup") ?? "";
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

const schedule = oncePerFrame(render);
const admin = new Admin(base, build, schedule);
const countdown = new Countdown(schedule);

const link = new LinkStatus().setUp(t);
const name = h("p", { class: "bar__name", dir: "auto" }, "Barème");
const lost = h("p", { class: "lost", role: "alert", hidden: true }, t("admin.lost"));
const signin = new AdminSignin().setUp(admin, t, setupToken);
const channels = new AdminChannels().setUp(admin, t);
const stage = new AdminStage().setUp(admin, t, format);
const programme = new AdminProgramme().setUp(admin, t, format);
const idle = h("p", { class: "lead" }, t("admin.nothing_on_air"));
const prepare = new AdminPrepare().setUp(admin, t);
const baremes = new BaremeEditor().setUp(admin, t);
const links = new AdminLinks().setUp(admin, t, format);
const results = new AdminResults().setUp(admin, t, format);
const access = new AdminAccess().setUp(admin, t, format);

/** @typedef {'live'|'prepare'|'links'|'results'|'access'} Tab */
/** @type {Record<Tab, {label: string, nodes: HTMLElement[]}>} */
const TABS = {
  live: { label: "admin.tab.live", nodes: [stage, programme, idle] },
  prepare: { label: "admin.tab.prepare", nodes: [prepare, baremes] },
  links: { label: "admin.tab.links", nodes: [links] },
  results: { label: "admin.tab.results", nodes: [results] },
  access: { label: "admin.tab.access", nodes: [access] },
};
const TAB_NAMES = /** @type {Tab[]} */ (Object.keys(TABS));
/** @type {Tab} */
let tab = "live";
let hadLive = false;
/** Live that one looked at in this session, so that the tab changes only when another one opens. */
const tabs = h("nav", { class: "tabs", "aria-label": t("admin.tabs") }, TAB_NAMES.map((value) =>
  h("button", { type: "button", class: "tabs__tab", "data-tab": value, onclick: () => openTab(value) }, t(TABS[value].label))));
// One fieldset around everything that acts: disabled in one go when the server is away, so that no button pretends.
const panels = h("fieldset", { class: "console" }, TAB_NAMES.map((value) => h("section", { class: "panel", "data-panel": value }, TABS[value].nodes)));

const root = /** @type {HTMLElement} */ (document.querySelector("main"));
root.replaceChildren(h("header", { class: "bar" }, name, link), lost, signin, channels, tabs, panels);

/** @param {Tab} value */
function openTab(value) {
  tab = value;
  if (value === "access") access.load();
  schedule();
}

function render() {
  if (!admin.ready) return;
  const signedIn = admin.session !== null;
  const { channel, openLive } = admin;
  signin.hidden = signedIn;
  channels.hidden = !signedIn;
  tabs.hidden = panels.hidden = !signedIn || !channel;
  link.hidden = !signedIn || !channel;
  const away = signedIn && !admin.isConnected && Date.now() - admin.snapshot.linkSince > 800;
  if (signedIn && !admin.isConnected && !away) setTimeout(schedule, 850);
  lost.hidden = !away;
  document.body.classList.toggle("is-lost", away);
  panels.disabled = away;
  if (!signedIn) return signin.render();
  channels.render();
  if (!channel) return;
  setText(name, channel.title);
  link.render(admin.snapshot, t("link.idle"));
  if (Boolean(openLive) !== hadLive) {
    hadLive = Boolean(openLive);
    if (hadLive) tab = "live";
  }
  idle.hidden = hadLive;
  for (const button of tabs.querySelectorAll("button")) button.setAttribute("aria-current", button.dataset.tab === tab ? "page" : "false");
  for (const panel of panels.children) if (panel instanceof HTMLElement) panel.hidden = panel.dataset.panel !== tab;
  const nearest = [stage.render(), programme.render()].filter((ms) => ms > 0);
  countdown.follow(nearest.length > 0 ? Math.min(...nearest) : 0);
  for (const component of [prepare, baremes, links, results, access]) component.render();
}

async function boot() {
  try {
    await admin.boot();
    if (admin.session && admin.channel && !admin.channel.open_live) tab = "prepare";
  } catch (error) {
    lost.hidden = false;
    setText(lost, problemWords(error, t));
    setTimeout(boot, 2_000);
    return;
  }
  setText(lost, t("admin.lost"));
  schedule();
}

await boot();
