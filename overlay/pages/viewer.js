// @ts-check
/** The page of the audience: one note on the current jeu, the averages, the other jeux of the live, the ranking. */
/** @import { ProgrammeEntry, Scores, LiveState } from "../lib/types.js" */
/** @import { Moment } from "../lib/phase-words.js" */
import { CritereField } from "../components/critere-field/critere-field.js";
import { JeuHead } from "../components/jeu-head/jeu-head.js";
import { JeuStrip } from "../components/jeu-strip/jeu-strip.js";
import { LinkStatus } from "../components/link-status/link-status.js";
import { NoteBar } from "../components/note-bar/note-bar.js";
import { Announcer } from "../lib/announcer.js";
import { Connection } from "../lib/connection.js";
import { Countdown } from "../lib/countdown.js";
import { h, oncePerFrame, rebuild, setText } from "../lib/dom.js";
import { createFormat } from "../lib/format.js";
import { createTexts } from "../lib/i18n.js";
import { Drafts } from "../lib/drafts.js";
import { noteStatus, noteWords } from "../lib/note-status.js";
import { pageData, reloadOnceFor, socketUrl } from "../lib/page.js";
import { momentOf, momentWords, placeWords } from "../lib/phase-words.js";
import { meanOfNote, missingCriteres } from "../lib/scale.js";
import { stripRows } from "../lib/strip-rows.js";
import { pageStorage } from "../lib/wishes.js";

/** A hundred thousand pages that reload spread it over this long. */
const RELOAD_WITHIN_MS = 20_000;
/** After the page went to another jeu by itself, what a finger was already on its way to is not a vote for this long. */
const SETTLE_MS = 400;

const { base, lang, build, channel } = pageData();
const t = createTexts((await import(`../messages/${lang}/viewer.js`)).default, lang);
const format = createFormat(lang);

const root = /** @type {HTMLElement} */ (document.querySelector("main"));
const name = h("p", { class: "bar__name", dir: "auto" }, document.title);
const link = new LinkStatus().setUp(t);
const announcer = new Announcer();
const away = h("p", { class: "banner", hidden: true });
const head = new JeuHead().setUp(t, format);
const fields = h("form", { class: "criteres", onsubmit: (/** @type {Event} */ event) => event.preventDefault() });
const bar = new NoteBar().setUp(t, withdraw);
const strip = new JeuStrip().setUp(choose);
const message = h("section", { class: "message" });
const stage = h("section", { class: "stage" }, away, head, fields, bar);

/** The jeu that the viewer looks at instead of the current one. @type {{live: string, jeu: number}|null} */
let lookedAt = null;
/** Whether the live was over when the page was last drawn. */
let wasOver = false;
/** The jeu on screen, as `live/jeu`, and since when the page shows it without having been asked to. */
let shownKey = "";
let settledAt = -Infinity;
/** Where the keyboard goes on once what was asked for is on screen. @type {(() => HTMLElement|null|undefined)|null} */
let focusNext = null;
const drafts = new Drafts(pageStorage());

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

/** Goes to a jeu, or with `null` to what the page shows by itself. @param {number|null} jeuId */
function choose(jeuId) {
  const { live } = connection.snapshot;
  const follows = !live || jeuId === null || (live.status === "open" && jeuId === live.current);
  lookedAt = follows ? null : { live: live.live_id, jeu: jeuId };
  focusNext = () => (stage.hidden ? message.querySelector("h1") : head.jeuTitle);
  // Whoever chose where to look means what they tap next, however lately the page moved on by itself.
  settledAt = -Infinity;
  schedule();
  window.scrollTo({ top: 0 });
}

/** @returns {ProgrammeEntry|null} */
function shownEntry() {
  const { snapshot } = connection;
  const { live } = snapshot;
  const chosenHere = lookedAt?.live === live?.live_id ? snapshot.entry(lookedAt?.jeu) : null;
  const entry = chosenHere ?? (live?.status === "open" ? snapshot.entry(live.current) : null);
  return entry && entry.phase !== "pending" ? entry : null;
}

/** What the server holds or is being told. @param {LiveState} live @param {number} jeuId @returns {Scores} */
function handedIn(live, jeuId) {
  const wish = connection.wishes.get(live.live_id, jeuId);
  return (wish ? wish.scores : connection.snapshot.myNote(jeuId)?.scores) ?? {};
}

/** What is chosen for a jeu: scores that are not complete, else what was handed in. @param {LiveState} live @param {number} jeuId */
function chosen(live, jeuId) {
  return drafts.scores(live.live_id, jeuId) ?? handedIn(live, jeuId);
}

/**
 * One tap: the whole note with this score in it.
 *
 * @param {string} key
 * @param {number|null} score null for "sans avis"
 */
function rate(key, score) {
  const { live } = connection.snapshot;
  const entry = shownEntry();
  schedule();
  if (!live || !entry || performance.now() - settledAt < SETTLE_MS) return;
  const scores = { ...chosen(live, entry.jeu_id) };
  if (score === null) delete scores[key];
  else scores[key] = score;
  const isComplete = missingCriteres(live.bareme, scores).length === 0;
  const isEmpty = Object.keys(scores).length === 0;
  drafts.set(live.live_id, entry.jeu_id, isComplete ? null : scores, key, score === null);
  if (!isComplete) return;
  if (!isEmpty) connection.want(live.live_id, entry.jeu_id, scores);
  else if (Object.keys(handedIn(live, entry.jeu_id)).length > 0) connection.want(live.live_id, entry.jeu_id, null);
}

function withdraw() {
  const { live } = connection.snapshot;
  const entry = shownEntry();
  if (!live || !entry) return;
  drafts.clear(live.live_id, entry.jeu_id);
  connection.want(live.live_id, entry.jeu_id, null);
  // The button goes away under the finger that pressed it.
  focusNext = () => head.jeuTitle;
}

function mount() {
  mounted = true;
  root.replaceChildren(h("header", { class: "bar" }, name, link), announcer.element, stage, message, strip);
}

function render() {
  const { snapshot } = connection;
  link.render(snapshot, t("link.idle"));
  // What the server wrote into the page stands until there is something newer.
  if (!mounted && !snapshot.state && snapshot.link !== "gone") return;
  if (!mounted) mount();
  const { live } = snapshot;
  setText(name, snapshot.state?.channel_title ?? document.title);
  const gone = snapshot.link === "gone";
  // The end is a moment of its own: whatever one looked at, the ranking comes.
  const isOver = live?.status === "closed";
  if (isOver && !wasOver) lookedAt = null;
  wasOver = isOver;
  const entry = gone ? null : shownEntry();
  stage.hidden = !entry;
  stage.classList.toggle("is-old", snapshot.link === "lost");
  message.hidden = Boolean(entry);
  strip.hidden = gone || !live || live.status === "draft" || (live.status === "open" && live.programme.length < 2);
  announcer.hear("link", snapshot.link, snapshot.link === "connecting" ? "" : link.textContent ?? "");
  renderMessage(live);
  if (live) renderStrip(live, entry);
  if (live && entry) renderStage(live, entry);
  else shownKey = "";
  announcer.speak();
  focusNext?.()?.focus({ preventScroll: true });
  focusNext = null;
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
  announcer.hear("message", message.hidden ? "" : words[0], message.hidden ? "" : t(words[0]));
  rebuild(message, words.join(), () => [h("h1", { class: "message__title", tabindex: -1 }, t(words[0])), h("p", {}, t(words[1]))]);
}

/** @param {LiveState} live @param {ProgrammeEntry} entry */
function renderStage(live, entry) {
  const { snapshot, clock } = connection;
  const msLeft = entry.closes_at_us === undefined ? 0 : clock.msUntil(entry.closes_at_us);
  const moment = momentOf(entry, msLeft);
  const takesNotes = live.status === "open" && (moment === "open" || moment === "closing");
  const tally = snapshot.tally(entry.jeu_id);
  countdown.follow(moment === "closing" ? msLeft : 0);
  renderAway(live, entry);
  turnTo(live, entry, moment, msLeft);
  head.render({ live, entry, tally, moment, msLeft });
  const hadFocus = fields.contains(document.activeElement);
  const rebuilt = rebuild(fields, JSON.stringify([live.live_id, entry.jeu_id, live.bareme]), () =>
    live.bareme.criteres.map((critere) => new CritereField().setUp(critere, t, format, rate)),
  );
  // Arrow keys vote: on another jeu the keyboard begins anew, at its title.
  if (rebuilt && hadFocus) focusNext = () => head.jeuTitle;
  const scores = chosen(live, entry.jeu_id);
  live.bareme.criteres.forEach((critere, index) => {
    const field = fields.children[index];
    if (!(field instanceof CritereField)) return;
    const summary = tally?.criteres.find(({ key }) => key === critere.key) ?? null;
    const mean = summary?.mean ?? null;
    field.render({
      score: scores[critere.key],
      abstained: scores[critere.key] === undefined && drafts.abstains(live.live_id, entry.jeu_id, critere.key),
      summary,
      meanWords: mean === null ? "" : t("viewer.mean", { mean: format.mean(mean, critere) }),
      locked: !takesNotes,
    });
  });
  renderBar(live, entry, scores, takesNotes);
}

/** Notes which jeu is on screen and where it stands. @param {LiveState} live @param {ProgrammeEntry} entry @param {Moment} moment @param {number} msLeft */
function turnTo(live, entry, moment, msLeft) {
  const key = `${live.live_id}/${entry.jeu_id}`;
  if (key !== shownKey && shownKey !== "" && !focusNext) settledAt = performance.now();
  shownKey = key;
  announcer.hear("jeu", key, `${placeWords(live, entry.jeu_id, t)}, ${entry.title}`);
  announcer.hear(`moment/${key}`, moment, momentWords(moment, msLeft, t, format));
}

/** @param {LiveState} live @param {ProgrammeEntry} entry @param {Scores} scores @param {boolean} takesNotes */
function renderBar(live, entry, scores, takesNotes) {
  const { snapshot, wishes } = connection;
  const refusal = wishes.refusal(live.live_id, entry.jeu_id);
  const missing = drafts.scores(live.live_id, entry.jeu_id) ? missingCriteres(live.bareme, scores).length : 0;
  const wish = wishes.get(live.live_id, entry.jeu_id);
  const status = noteStatus({ wish, mine: snapshot.myNote(entry.jeu_id), refusal, link: snapshot.link, missing, takesNotes });
  const words = noteWords(status, refusal, missing, live.bareme, t);
  const mean = meanOfNote(live.bareme, live.scale, scores);
  bar.render({
    status,
    words,
    mine: mean === null ? "" : t("viewer.my_note", { mean: format.mean(mean, live.scale) }),
    canWithdraw: takesNotes && Object.keys(handedIn(live, entry.jeu_id)).length > 0,
  });
  const news = !["sending", "none", "final"].includes(status);
  announcer.hear(`note/${live.live_id}/${entry.jeu_id}`, `${status} ${missing}`, news ? words : "");
}

/** The way back. @param {LiveState} live @param {ProgrammeEntry} entry */
function renderAway(live, entry) {
  const current = live.status === "open" ? connection.snapshot.entry(live.current) : null;
  away.hidden = live.status === "open" && (!current || current.jeu_id === entry.jeu_id);
  if (away.hidden) return;
  const words = current ? t("viewer.back_to_current", { title: current.title }) : t("viewer.back_to_ranking");
  rebuild(away, words, () => [h("button", { type: "button", class: "banner__button", "data-focus": "away", onclick: () => choose(null) }, words)]);
}

/** @param {LiveState} live @param {ProgrammeEntry|null} shown */
function renderStrip(live, shown) {
  const { snapshot, clock } = connection;
  const isOver = live.status === "closed";
  const rows = stripRows({ live, tallyOf: (jeu) => snapshot.tally(jeu), scoresOf: (jeu) => handedIn(live, jeu), clock, shown, t, format });
  strip.render(t(isOver ? "viewer.ranking" : "viewer.programme"), rows, isOver);
}

root.querySelector(".link-status")?.replaceWith(link);
window.addEventListener("storage", () => {
  drafts.load();
  schedule();
});
connection.start();
