// @ts-check
/** The overlay in OBS: follows the current jeu of its channel, and says so when it cannot. */
import { OverlayCard } from "../components/overlay-card/overlay-card.js";
import { Connection } from "../lib/connection.js";
import { Countdown } from "../lib/countdown.js";
import { h, oncePerFrame, setText } from "../lib/dom.js";
import { createFormat } from "../lib/format.js";
import { createTexts } from "../lib/i18n.js";
import { readOverlaySettings, placeStage } from "../lib/overlay-settings.js";
import { pageData, reloadOnceFor, socketUrl } from "../lib/page.js";
import { momentOf } from "../lib/phase-words.js";

/** A link that comes back within this long was never seen to go. */
const STALE_AFTER_MS = 1_500;
/** How long a result stays after its live was closed. */
const FAREWELL_MS = 20_000;

const { base, lang, build, channel } = pageData();
const settings = readOverlaySettings(new URL(location.href));
const messages = (await import(`../messages/${lang}.js`)).default;
const t = createTexts(messages, lang);
const format = createFormat(lang);

const card = new OverlayCard().setUp(t, format);
const stage = h("div", { class: "overlay__stage", hidden: true }, card);
const notice = h("p", { class: "overlay__notice", role: "status", hidden: true });
const root = document.querySelector(".overlay") ?? document.body;
root.replaceChildren(stage, notice);
root.classList.toggle("is-still", !settings.motion);

/** @type {string|null} live this page saw open, whose end may be shown for a while */
let seenOpen = null;
/** @type {number} */
let closedAt = 0;

const connection = new Connection({
  url: socketUrl(base, channel, { role: "overlay", key: settings.key }),
  role: "overlay",
  build,
  onOtherBuild: (other) => reloadOnceFor(other, 1_000),
  onChange: () => schedule(),
  isRefused: async () => (await fetch(location.href, { cache: "no-store" })).status === 403,
});
const countdown = new Countdown(() => schedule());
const schedule = oncePerFrame(render);

/** @returns {import("../lib/types.js").ProgrammeEntry|null} */
function shownEntry() {
  const live = connection.snapshot.live;
  const entry = connection.snapshot.entry(live?.current);
  if (!live || !entry || entry.phase === "pending") return null;
  if (live.status === "open") {
    seenOpen = live.live_id;
    closedAt = 0;
    return entry;
  }
  if (live.live_id !== seenOpen) return null;
  if (closedAt === 0) {
    closedAt = Date.now();
    setTimeout(schedule, FAREWELL_MS + 50);
  }
  return Date.now() - closedAt < FAREWELL_MS ? entry : null;
}

function render() {
  const { snapshot, clock } = connection;
  const away = snapshot.link !== "live" && Date.now() - snapshot.linkSince > STALE_AFTER_MS;
  if (snapshot.link !== "live" && !away) setTimeout(schedule, STALE_AFTER_MS + 20);
  const stale = away || snapshot.state?.stale === true;
  const entry = shownEntry();
  const live = snapshot.live;
  stage.hidden = entry === null || isOver();
  renderNotice(stale, entry !== null);
  if (!entry || !live) return;
  const msLeft = entry.closes_at_us === undefined ? 0 : clock.msUntil(entry.closes_at_us);
  const moment = momentOf(entry, msLeft);
  const tally = snapshot.tally(entry.jeu_id);
  card.render({ live, entry, tally, moment, msLeft, stale, criteres: settings.criteres, motion: settings.motion });
  countdown.follow(moment === "closing" ? msLeft : 0);
  placeStage(stage, card, settings);
}

function isOver() {
  return connection.snapshot.link === "refused" || connection.snapshot.link === "gone";
}

/**
 * Never blank without a reason.
 *
 * @param {boolean} stale
 * @param {boolean} showsCard
 */
function renderNotice(stale, showsCard) {
  const { link } = connection.snapshot;
  notice.classList.toggle("is-problem", isOver());
  notice.hidden = !isOver() && (!stale || showsCard);
  if (link === "refused") setText(notice, t("overlay.refused"));
  else if (link === "gone") setText(notice, t("overlay.gone"));
  else setText(notice, t("link.reconnecting"));
}

window.addEventListener("resize", schedule);
// OBS tells a page when its source is shown. Absent everywhere else.
window.addEventListener("obsSourceVisibleChanged", () => connection.wake());
window.addEventListener("obsSourceActiveChanged", () => connection.wake());
connection.start();
schedule();
