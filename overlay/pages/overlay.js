// @ts-check
/** The overlay in OBS: follows the current jeu of its channel, and says so when it cannot. */
import { OverlayBand } from "../components/overlay-band/overlay-band.js";
import { OverlayCard } from "../components/overlay-card/overlay-card.js";
import { OverlayPill } from "../components/overlay-pill/overlay-pill.js";
import { OverlayQr } from "../components/overlay-qr/overlay-qr.js";
import { OverlayRanking } from "../components/overlay-ranking/overlay-ranking.js";
import { Connection } from "../lib/connection.js";
import { Countdown } from "../lib/countdown.js";
import { h, oncePerFrame, setText } from "../lib/dom.js";
import { createFormat } from "../lib/format.js";
import { createTexts } from "../lib/i18n.js";
import { Accent } from "../lib/overlay-accent.js";
import { DemoConnection } from "../lib/overlay-demo.js";
import { Motion } from "../lib/overlay-motion.js";
import { Director, subjectOf, takesNotes } from "../lib/overlay-scene.js";
import { readOverlaySettings, shownCriteres } from "../lib/overlay-settings.js";
import { OverlayStage } from "../lib/overlay-stage.js";
import { pageData, reloadOnceFor, socketUrl } from "../lib/page.js";

/** A link that comes back within this long was never seen to go. */
const STALE_AFTER_MS = 1_500;
/** The longest a timer of a browser can wait is 24 days; nothing here is worth more than an hour. */
const LONGEST_MS = 3_600_000;

const { base, lang, build, channel } = pageData();
const settings = readOverlaySettings(new URL(location.href), matchMedia("(prefers-reduced-motion: reduce)").matches);
const messages = (await import(`../messages/${lang}/overlay.js`)).default;
const t = createTexts(messages, lang);
// A state that stands still has no movement either.
const motion = new Motion(settings.motion && (settings.demo === "on" || settings.demo === "off"));
const kit = { t, format: createFormat(lang), motion, criteres: settings.criteres };

const panel = new { card: OverlayCard, band: OverlayBand, pill: OverlayPill }[settings.theme]().setUp(kit);
const ranking = new OverlayRanking().setUp(kit);
const tag = h("p", { class: "overlay__tag", hidden: true });
const { address = "" } = document.body.dataset;
const code = new OverlayQr();
const stage = new OverlayStage(settings, motion, tag, code);
const notice = h("p", { class: "overlay__notice", role: "status", hidden: true });
const probe = h("i", { class: "overlay__probe", "aria-hidden": "true" });
const root = document.querySelector(".overlay") ?? document.body;
root.setAttribute("data-theme", settings.theme);
root.replaceChildren(stage.element, notice, probe);
root.classList.toggle("is-still", !motion.wanted);
if (settings.qr !== "off") code.setUp(t("overlay.vote_at"), address, `${base}/api/channels/${channel}/qr.svg`);
new Accent(probe, settings.accent);

const connection = settings.demo === "off" ? connect() : new DemoConnection(settings.demo, () => schedule());
const director = new Director({ withStandings: settings.ranking === "each" });
const countdown = new Countdown(() => schedule());
/** @type {ReturnType<typeof setTimeout>|undefined} */
let again;
let isVisible = true;
const schedule = oncePerFrame(render);

function connect() {
  // With a demo the server lets everybody in, and one it does not know is none.
  const asked = new URL(location.href);
  asked.searchParams.delete("demo");
  return new Connection({
    url: socketUrl(base, channel, { role: "overlay", key: settings.key }),
    role: "overlay",
    build,
    onOtherBuild: (other) => reloadOnceFor(other, 1_000),
    onChange: () => schedule(),
    isRefused: async () => (await fetch(asked, { cache: "no-store" })).status === 403,
  });
}

function render() {
  // Nobody sees it: the newest state is shown when somebody does.
  if (!isVisible) return;
  const { snapshot, clock } = connection;
  const lostMs = snapshot.link === "live" ? 0 : Date.now() - snapshot.linkSince;
  const stale = lostMs > STALE_AFTER_MS || snapshot.state?.stale === true;
  const { scene, againInMs } = director.direct(snapshot, clock);
  const waits = [againInMs, lostMs > 0 && !stale ? STALE_AFTER_MS - lostMs : null].filter((wait) => wait !== null);
  clearTimeout(again);
  if (waits.length > 0) again = setTimeout(schedule, Math.min(LONGEST_MS, ...waits) + 20);
  if (isOver()) stage.show(null);
  else show(scene, stale);
  renderNotice(stale);
  countdown.follow(scene.kind === "jeu" && scene.moment === "closing" && settings.demo !== "closing" ? scene.msLeft : 0);
}

/**
 * @param {import("../lib/overlay-scene.js").Scene} scene
 * @param {boolean} stale
 */
function show(scene, stale) {
  const isOpen = scene.live?.status === "open";
  code.hidden = settings.qr === "off" || !isOpen || (settings.qr === "idle" && takesNotes(scene));
  const label = scene.live?.test ? "overlay.test" : settings.demo === "on" ? "overlay.demo" : null;
  tag.hidden = label === null;
  if (label) setText(tag, t(label));
  const subject = subjectOf(scene);
  if (scene.kind === "none" || subject === null) stage.show(null);
  else if (scene.kind === "ranking") stage.show(rankingAct(scene, subject, stale));
  else stage.show(jeuAct(scene, subject, stale));
}

/**
 * @param {import("../lib/overlay-scene.js").RankingScene} scene
 * @param {string} subject
 * @param {boolean} stale
 * @returns {import("../lib/overlay-stage.js").Act}
 */
function rankingAct(scene, subject, stale) {
  const rows = () => /** @type {HTMLElement[]} */ ([...(ranking.rows?.children ?? [])]);
  return {
    subject,
    panel: ranking,
    shape: JSON.stringify([scene.arrived, ...scene.rows.map(({ entry }) => entry.jeu_id)]),
    moment: "ranking",
    render: () => ranking.render(scene, stale),
    enter: () => {
      const seen = rows().filter((row) => !row.hidden);
      const arrived = seen.find((row) => row.matches(".is-new"));
      if (arrived) motion.join(arrived, seen);
      else motion.slide(seen);
    },
    change: () => {},
  };
}

/**
 * @param {import("../lib/overlay-scene.js").JeuScene} scene
 * @param {string} subject
 * @param {boolean} stale
 * @returns {import("../lib/overlay-stage.js").Act}
 */
function jeuAct(scene, subject, stale) {
  const { live, entry, moment } = scene;
  const scales = () => panel.querySelectorAll("scale-histogram, overlay-bar");
  return {
    subject,
    panel,
    shape: `${subject}|${entry.title}|${shownCriteres(live.bareme, settings.criteres).length}`,
    moment,
    render: () => panel.render(scene, stale),
    enter: () => motion.draw(scales()),
    change: (from) => {
      if (moment === "open" && from === "pending") motion.draw(scales(), 0);
      if (moment === "final" && panel.mean) motion.grow(panel.mean);
      if (moment === "final" && panel.place) motion.rise(panel.place, 400);
    },
  };
}

function isOver() {
  return connection.snapshot.link === "refused" || connection.snapshot.link === "gone";
}

/** Never blank without a reason. @param {boolean} stale */
function renderNotice(stale) {
  const { link } = connection.snapshot;
  notice.classList.toggle("is-problem", isOver());
  notice.hidden = !isOver() && (!stale || !stage.box.hidden);
  if (link === "refused") setText(notice, t("overlay.refused"));
  else if (link === "gone") setText(notice, t("overlay.gone"));
  else setText(notice, t("link.reconnecting"));
}

/** Whether the source is on screen. What changed meanwhile is there at once; movement begins with the next change. */
function setVisible(/** @type {boolean} */ visible) {
  isVisible = visible;
  motion.awake = false;
  root.classList.add("is-still");
  motion.settle();
  if (!visible) return;
  connection.wake();
  render();
  root.getBoundingClientRect();
  motion.awake = true;
  root.classList.toggle("is-still", !motion.wanted);
}

window.addEventListener("resize", () => stage.place());
// Whether a title fits is known once its letters are there.
document.fonts.addEventListener("loadingdone", () => stage.place(true));
// OBS tells a page what happens to its source. Absent everywhere else.
window.addEventListener("obsSourceVisibleChanged", (event) => setVisible(/** @type {any} */ (event).detail?.visible !== false));
for (const event of ["obsSourceActiveChanged", "obsStreamingStarted", "obsStreamingStopped"]) {
  window.addEventListener(event, () => connection.wake());
}
connection.start();
schedule();
