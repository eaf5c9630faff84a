// @ts-check
/** The page of the streamer: signs in, then drives the lives of a channel. */
import { AdminAccess } from "../components/admin-access/admin-access.js";
import { AdminAudit } from "../components/admin-audit/admin-audit.js";
import { AdminBar } from "../components/admin-bar/admin-bar.js";
import { AdminCatalogue } from "../components/admin-catalogue/admin-catalogue.js";
import { AdminChannels } from "../components/admin-channels/admin-channels.js";
import { AdminConfirm } from "../components/admin-confirm/admin-confirm.js";
import { AdminFactor } from "../components/admin-factor/admin-factor.js";
import { AdminHelp } from "../components/admin-help/admin-help.js";
import { AdminIdle } from "../components/admin-idle/admin-idle.js";
import { AdminLinks } from "../components/admin-links/admin-links.js";
import { AdminPasskeys } from "../components/admin-passkeys/admin-passkeys.js";
import { AdminPrepare } from "../components/admin-prepare/admin-prepare.js";
import { AdminProgramme } from "../components/admin-programme/admin-programme.js";
import { AdminQuick } from "../components/admin-quick/admin-quick.js";
import { AdminResults } from "../components/admin-results/admin-results.js";
import { AdminSignin } from "../components/admin-signin/admin-signin.js";
import { AdminStage } from "../components/admin-stage/admin-stage.js";
import { AdminStart } from "../components/admin-start/admin-start.js";
import { AdminTest } from "../components/admin-test/admin-test.js";
import { BaremeEditor } from "../components/bareme-editor/bareme-editor.js";
import { Admin } from "../lib/admin.js";
import { problemWords } from "../lib/actions.js";
import { Countdown } from "../lib/countdown.js";
import { h, oncePerFrame, setText } from "../lib/dom.js";
import { createFormat } from "../lib/format.js";
import { createTexts } from "../lib/i18n.js";
import { pageData } from "../lib/page.js";
import { listenForShortcuts } from "../lib/shortcuts.js";
import { Tabs } from "../lib/tabs.js";

/** A connection that is away for less is no news. */
const AWAY_AFTER_MS = 800;

const { base, lang, build, party } = pageData();
const setupToken = takeSetupToken();
const t = createTexts((await import(`../messages/${lang}/admin.js`)).default, lang);
const format = createFormat(lang);

// Docks say so, and are dark whatever the system is.
document.body.classList.toggle("is-dock", / OBS\//.test(navigator.userAgent));

/** The set-up secret is read once and leaves the address bar at once: screens get streamed. */
function takeSetupToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("setup") ?? "";
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

const schedule = oncePerFrame(render);
const admin = new Admin(base, build, party, schedule);
const countdown = new Countdown(schedule);

const help = new AdminHelp().setUp(t);
const bar = new AdminBar().setUp(admin, t, () => help.toggle());
const lost = h("p", { class: "lost", role: "alert", hidden: true }, t("admin.lost"));
const signin = new AdminSignin().setUp(admin, t);
const start = new AdminStart().setUp(admin, t, setupToken);
const nothing = h("p", { class: "lead" }, t("admin.channel.none"));
const stage = new AdminStage().setUp(admin, t, format);
const programme = new AdminProgramme().setUp(admin, t, format);
const idle = new AdminIdle().setUp(admin, t, format, () => tabs.open("prepare", true));
const testMode = new AdminTest().setUp(admin, t);
const prepare = new AdminPrepare().setUp(admin, t);
const catalogue = new AdminCatalogue().setUp(admin, t);
const baremes = new BaremeEditor().setUp(admin, t, format);
const settings = new AdminChannels().setUp(admin, t);
const links = new AdminLinks().setUp(admin, t, format);
const results = new AdminResults().setUp(admin, t, format);
const access = new AdminAccess().setUp(admin, t, format, new AdminFactor().setUp(admin, t, format), new AdminPasskeys().setUp(admin, t, format), new AdminAudit().setUp(admin, t, format));
const confirm = new AdminConfirm().setUp(admin, t);
const quick = new AdminQuick().setUp(admin, t);

/** @typedef {'live'|'prepare'|'links'|'results'|'access'} Tab */
const tabs = new Tabs(t("admin.tabs"), [
  { name: "live", label: t("admin.tab.live"), nodes: [testMode, h("div", { class: "live" }, h("div", { class: "live__stage" }, stage, idle), h("div", { class: "live__side" }, programme, quick))] },
  { name: "prepare", label: t("admin.tab.prepare"), nodes: [h("div", { class: "halves" }, h("div", {}, prepare), h("div", {}, catalogue, baremes, settings))] },
  { name: "links", label: t("admin.tab.links"), nodes: [links] },
  { name: "results", label: t("admin.tab.results"), nodes: [results] },
  { name: "access", label: t("admin.tab.access"), nodes: [access] },
], (name) => {
  if (name === "access") access.load();
  schedule();
});
// One fieldset around everything that acts: disabled in one go when the server is away, so that no button pretends.
const panels = h("fieldset", { class: "console" }, tabs.panels);
let hadLive = false;

const root = /** @type {HTMLElement} */ (document.querySelector("main"));
// Nothing is there to be pressed before it is known who looks, and at which tab.
for (const part of [signin, start, nothing, tabs.bar, panels]) part.hidden = true;
root.replaceChildren(bar, lost, signin, start, nothing, tabs.bar, panels);
document.body.append(help, confirm);
listenForShortcuts(() => !panels.hidden && help.toggle());

function render() {
  if (!admin.ready) return;
  const signedIn = admin.session !== null;
  const isStarting = start.isWanted;
  const isDriving = signedIn && !isStarting && admin.channel !== null;
  signin.hidden = signedIn || isStarting;
  start.hidden = !isStarting;
  nothing.hidden = !signedIn || isStarting || admin.channel !== null;
  tabs.bar.hidden = panels.hidden = !isDriving;
  renderLost(signedIn);
  const clockMs = bar.render();
  if (!signin.hidden) signin.render();
  if (isStarting) start.render();
  if (!isDriving) return countdown.follow(0);
  tabs.hide("prepare", !admin.isAdmin);
  const onAir = admin.openLive !== null;
  if (onAir !== hadLive) {
    hadLive = onAir;
    // Somebody opened a live: that is where one wants to be.
    if (onAir) tabs.open("live");
  }
  const counting = [clockMs, stage.render(), programme.render(), idle.render(), testMode.render()].filter((ms) => ms > 0 && ms < Infinity);
  // All of them change with a second, not with the same one.
  countdown.follow(counting.length > 0 ? Math.min(...counting.map((ms) => ms % 1000 || 1000)) : 0);
  for (const component of [quick, prepare, catalogue, baremes, settings, links, results, access]) component.render();
}

/** @param {boolean} signedIn */
function renderLost(signedIn) {
  const isApart = signedIn && !admin.isConnected;
  const awayMs = Date.now() - admin.snapshot.linkSince;
  const away = isApart && awayMs > AWAY_AFTER_MS;
  // Also when it was lost in this very millisecond, or the local clock was set back: nothing else draws this again.
  if (isApart && !away) setTimeout(schedule, Math.min(AWAY_AFTER_MS, AWAY_AFTER_MS - awayMs) + 50);
  lost.hidden = !away;
  document.body.classList.toggle("is-lost", away);
  panels.disabled = away;
}

async function boot() {
  try {
    await admin.boot();
    if (admin.session && admin.channel && !admin.channel.open_live && admin.data.lives.length === 0 && admin.isAdmin) tabs.open("prepare");
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
