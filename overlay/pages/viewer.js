// @ts-check
/** The page of the audience: one note on the current jeu, the averages, the other jeux of the live. */
/** @import { ProgrammeEntry, Scores, LiveState } from "../lib/types.js" */
import { CritereField } from "../components/critere-field/critere-field.js";
import { JeuHead } from "../components/jeu-head/jeu-head.js";
import { JeuStrip } from "../components/jeu-strip/jeu-strip.js";
import { LinkStatus } from "../components/link-status/link-status.js";
import { NoteBar } from "../components/note-bar/note-bar.js";
import { Connection } from "../lib/connection.js";
import { Countdown } from "../lib/countdown.js";
import { h, oncePerFrame, rebuild, setText } from "../lib/dom.js";
import { createFormat, NO_NUMBER } from "../lib/format.js";
import { createTexts } from "../lib/i18n.js";
import { Drafts } from "../lib/drafts.js";
import { noteStatus, noteWords } from "../lib/note-status.js";
import { pageData, reloadOnceFor, socketUrl } from "../lib/page.js";
import { momentOf, momentWords } from "../lib/phase-words.js";
import { meanOfNote, missingCriteres } from "../lib/scale.js";
import { pageStorage } from "../lib/wishes.js";

/** A hundred thousand pages that reload spread it over this long. */
const RELOAD_WITHIN_MS = 20_000;

const { base, lang, build, channel } = pageData();
const t = createTexts((await import(`../messages/${lang}.js`)).default, lang);
const format = createFormat(lang);

const root = /** @type {HTMLElement} */ (document.querySelector("main"));
const name = h("p", { class: "bar__name", dir: "auto" }, document.title);
const link = new LinkStatus().setUp(t);
const away = h("p", { class: "banner", hidden: true });
const head = new JeuHead().setUp(t, format);
const fields = h("form", { class: "criteres", onsubmit: (/** @type {Event} */ event) => event.preventDefault() });
const bar = new NoteBar().setUp(t, withdraw);
const strip = new JeuStrip().setUp(t, choose);
const message = h("section", { class: "message" });
const stage = h("section", { class: "stage" }, away, head, fields, bar);

/** Jeu the viewer looks at instead of the current one. @type {number|null} */
let lookedAt = null;
/** What is chosen and not yet sent, because a critere is missing. */
const drafts = new Drafts();

const connection = new Connection({
  url: socketUrl(base, channel),
  role: "viewer",
  build,
  onOtherBuild: (other) => reloadOnceFor(other, RELOAD_WITHIN_MS),
  storage: pageStorage(),
  http: { stateUrl: `${base}/api/channels/${encodeURIComponent(channel)}/state`, noteUrl: `${base}/api/note` },
  onChange: () => schedule(),
});
const schedule = oncePerFrame(render);
const countdown = new Countdown(() => schedule());
let mounted = false;

/** @param {number} jeuId */
function choose(jeuId) {
  lookedAt = jeuId === connection.snapshot.live?.current ? null : jeuId;
  schedule();
  window.scrollTo({ top: 0 });
}

/** @returns {ProgrammeEntry|null} */
function shownEntry() {
  const { snapshot } = connection;
  const entry = snapshot.entry(lookedAt) ?? snapshot.entry(snapshot.live?.current);
  return entry && entry.phase !== "pending" ? entry : null;
}

/**
 * What is chosen for a jeu: the draft, else what is on its way, else what the server holds.
 *
 * @param {LiveState} live
 * @param {number} jeuId
 * @returns {Scores}
 */
function chosen(live, jeuId) {
  const wish = connection.wishes.get(live.live_id, jeuId);
  return drafts.get(live.live_id, jeuId) ?? (wish ? (wish.scores ?? {}) : (connection.snapshot.myNote(jeuId)?.scores ?? {}));
}

/**
 * One tap: the whole note with this score in it.
 *
 * @param {string} key
 * @param {number|null} score
 */
function rate(key, score) {
  const { live } = connection.snapshot;
  const entry = shownEntry();
  if (!live || !entry) return;
  const scores = { ...chosen(live, entry.jeu_id) };
  if (score === null) delete scores[key];
  else scores[key] = score;
  const complete = missingCriteres(live.bareme, scores).length === 0;
  const hasNote = Object.keys(chosenOnServer(live, entry.jeu_id)).length > 0;
  drafts.touch(live.live_id, entry.jeu_id, key);
  if (!complete) {
    drafts.set(live.live_id, entry.jeu_id, scores);
  } else {
    drafts.clear(live.live_id, entry.jeu_id);
    if (Object.keys(scores).length > 0) connection.want(live.live_id, entry.jeu_id, scores);
    else if (hasNote) connection.want(live.live_id, entry.jeu_id, null);
  }
  schedule();
}

/** @param {LiveState} live @param {number} jeuId @returns {Scores} */
function chosenOnServer(live, jeuId) {
  return connection.wishes.get(live.live_id, jeuId)?.scores ?? connection.snapshot.myNote(jeuId)?.scores ?? {};
}

function withdraw() {
  const { live } = connection.snapshot;
  const entry = shownEntry();
  if (!live || !entry) return;
  drafts.clear(live.live_id, entry.jeu_id);
  drafts.forgetTouches(live.live_id, entry.jeu_id);
  connection.want(live.live_id, entry.jeu_id, null);
}

function mount() {
  mounted = true;
  root.replaceChildren(h("header", { class: "bar" }, name, link), stage, message, strip);
}

function render() {
  const { snapshot } = connection;
  // What the server wrote into the page stands until there is something newer.
  if (!mounted && !snapshot.state && snapshot.link !== "gone") return;
  if (!mounted) mount();
  const { live } = snapshot;
  setText(name, snapshot.state?.channel_title ?? document.title);
  link.render(snapshot, t("link.idle"));
  const entry = shownEntry();
  stage.hidden = !entry;
  message.hidden = Boolean(entry) && live?.status === "open";
  renderMessage(live);
  strip.hidden = !live || live.status === "draft" || live.programme.length < 2;
  if (live) renderStrip(live, entry);
  if (live && entry) renderStage(live, entry);
}

/** @param {LiveState|null} live */
function renderMessage(live) {
  const words = connection.snapshot.link === "gone"
    ? ["viewer.gone.title", "viewer.gone.text"]
    : !live
      ? ["viewer.before.title", "viewer.before.text"]
      : live.status === "closed"
        ? ["viewer.over.title", "viewer.over.text"]
        : ["viewer.soon.title", "viewer.soon.text"];
  rebuild(message, words.join(), () => [h("h2", { class: "message__title" }, t(words[0])), h("p", {}, t(words[1]))]);
}

/** @param {LiveState} live @param {ProgrammeEntry} entry */
function renderStage(live, entry) {
  const { snapshot, clock } = connection;
  const msLeft = entry.closes_at_us === undefined ? 0 : clock.msUntil(entry.closes_at_us);
  const moment = momentOf(entry, msLeft);
  const takesNotes = moment === "open" || moment === "closing";
  const tally = snapshot.tally(entry.jeu_id);
  countdown.follow(moment === "closing" ? msLeft : 0);
  renderAway(live, entry);
  head.render({ live, entry, tally, moment, msLeft });
  rebuild(fields, JSON.stringify([live.live_id, entry.jeu_id, live.bareme]), () =>
    live.bareme.criteres.map((critere) => new CritereField().setUp(critere, t, format, rate)),
  );
  const scores = chosen(live, entry.jeu_id);
  live.bareme.criteres.forEach((critere, index) => {
    const field = fields.children[index];
    if (!(field instanceof CritereField)) return;
    const summary = tally?.criteres.find(({ key }) => key === critere.key) ?? null;
    const mean = summary?.mean ?? null;
    field.render({
      score: scores[critere.key],
      abstained: scores[critere.key] === undefined && drafts.touched(live.live_id, entry.jeu_id, critere.key),
      summary,
      meanWords: mean === null ? "" : t("viewer.mean", { mean: format.mean(mean, critere) }),
      locked: !takesNotes,
    });
  });
  renderBar(live, entry, scores, takesNotes);
}

/** @param {LiveState} live @param {ProgrammeEntry} entry @param {Scores} scores @param {boolean} takesNotes */
function renderBar(live, entry, scores, takesNotes) {
  const { snapshot, wishes } = connection;
  const refusal = wishes.refusal(live.live_id, entry.jeu_id);
  const hasDraft = drafts.get(live.live_id, entry.jeu_id) !== null;
  const missing = hasDraft ? missingCriteres(live.bareme, scores).length : 0;
  const wish = wishes.get(live.live_id, entry.jeu_id);
  const status = noteStatus({ wish, mine: snapshot.myNote(entry.jeu_id), refusal, link: snapshot.link, missing, takesNotes });
  const mean = meanOfNote(live.bareme, live.scale, scores);
  bar.render({
    status,
    words: noteWords(status, refusal, missing, t),
    mine: mean === null ? "" : t("viewer.my_note", { mean: format.mean(mean, live.scale) }),
    canWithdraw: takesNotes && Object.keys(chosenOnServer(live, entry.jeu_id)).length > 0,
  });
}

/** @param {LiveState} live @param {ProgrammeEntry} entry */
function renderAway(live, entry) {
  const current = connection.snapshot.entry(live.current);
  away.hidden = !current || current.jeu_id === entry.jeu_id || live.status !== "open";
  if (!current || away.hidden) return;
  rebuild(away, `${current.jeu_id}/${current.title}`, () => [
    h("button", { type: "button", class: "banner__button", onclick: () => choose(current.jeu_id) }, t("viewer.back_to_current", { title: current.title })),
  ]);
}

/** @param {LiveState} live @param {ProgrammeEntry|null} shown */
function renderStrip(live, shown) {
  const { snapshot } = connection;
  strip.render(
    live.programme.map((entry) => {
      const mean = snapshot.tally(entry.jeu_id)?.mean;
      const msLeft = 0;
      const moment = momentOf(entry, entry.closes_at_us === undefined ? 0 : connection.clock.msUntil(entry.closes_at_us));
      return {
        jeu_id: entry.jeu_id,
        title: entry.title,
        words: moment === "closing" ? t("phase.short_closing") : shortWords(entry, moment, msLeft),
        mean: entry.phase === "pending" || mean === null || mean === undefined ? NO_NUMBER : format.mean(mean, live.scale),
        current: live.current === entry.jeu_id && live.status === "open",
        chosen: entry.jeu_id === shown?.jeu_id,
        reachable: entry.phase !== "pending",
      };
    }),
  );
}

/** @param {ProgrammeEntry} entry @param {import("../lib/phase-words.js").Moment} moment @param {number} msLeft */
function shortWords(entry, moment, msLeft) {
  return entry.phase === "open" ? t("phase.short_open") : momentWords(moment, msLeft, t, format);
}

connection.start();
