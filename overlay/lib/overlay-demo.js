// @ts-check
/**
 * Made-up numbers in the place of a connection: the whole of a live in three quarters of a minute, or one state that stands still.
 * Everything follows from the time since the start, so the same instant always looks the same.
 */
/** @import { Critere, LiveState, Phase, State, TallyFrame } from "./types.js" */
/** @import { Demo } from "./overlay-settings.js" */
import { ServerClock } from "./clock.js";
import { Snapshot } from "./snapshot.js";

/** When each thing happens, milliseconds. The first jeu runs through every moment, the second ends the live. */
const AT = { open: 1_500, lost: 7_000, back: 9_500, announced: 11_000, closing: 17_000, final: 18_500, next: 31_500, end: 36_000 };
export const LOOP_MS = 50_500;
const FULL_MS = AT.closing - AT.open;
/** Ten snapshots a second, as a server sends them. */
const TICK_MS = 100;
/** An arbitrary day; the clock of a demo knows no other. */
const START_MS = Date.UTC(2026, 0, 1);

/** Where each state that stands still is found. @type {Record<Exclude<Demo, 'on'|'off'>, number>} */
const STILL = {
  pending: 500,
  open: 10_000,
  closing: AT.closing - 4_800,
  finalising: AT.closing + 500,
  final: AT.final + 2_000,
  ranking: LOOP_MS - 1_000,
  stale: AT.back - 500,
  minimum: AT.open + 300,
  blind: 10_000,
  test: 10_000,
};
const MINIMUM = 100;

/** Jeux that do not exist: title, notes, and the mean of each critere when all are counted. */
const JEUX = [
  { title: "Ultraroute 94", voters: 1_730, means: [4.4, 3.9, 3.6, 4.2] },
  { title: "Petite Forge", voters: 1_402, means: [3.9, 3.4, 4.1, 3.6] },
  { title: "Le Dernier Phare", voters: 1_655, means: [2.7, 3.8, 2.9, 3.2] },
  { title: "Les Brumes de Valmère", voters: 2_248, means: [4.6, 4.1, 4.2, 4.4] },
  { title: "Kart Abyssal", voters: 1_877, means: [2.9, 2.2, 2.1, 2.5] },
];
const STAR = 3;
const LAST = 4;

/** @param {string} key @param {string} fr @param {string} en @returns {Critere} */
const critere = (key, fr, en) => ({
  key, labels: { fr, en }, min: 1, max: 5, step: 1, weight: 1, low: { fr: "", en: "" }, high: { fr: "", en: "" }, optional: true,
});
const CRITERES = [
  critere("fun", "Fun", "Fun"),
  critere("graph", "Graphismes", "Graphics"),
  critere("duree", "Durée de vie", "Lasting appeal"),
  critere("son", "Bande-son", "Sound"),
];

/**
 * How far the votes on a jeu are, 0 to 1, and its phase.
 *
 * @param {number} index
 * @param {number} ms
 * @returns {{phase: Phase, counted: number, closesMs?: number}}
 */
function progress(index, ms) {
  const rush = (/** @type {number} */ since) => 1 - (1 - Math.min(1, Math.max(0, (ms - since) / FULL_MS))) ** 2;
  if (index < STAR) return { phase: "final", counted: 1 };
  if (index === STAR) {
    if (ms < AT.open) return { phase: "pending", counted: 0 };
    if (ms < AT.announced) return { phase: "open", counted: rush(AT.open) };
    if (ms < AT.closing) return { phase: "open", counted: rush(AT.open), closesMs: AT.closing };
    return { phase: ms < AT.final ? "closing" : "final", counted: 1 };
  }
  if (ms < AT.next) return { phase: "pending", counted: 0 };
  return ms < AT.end ? { phase: "open", counted: rush(AT.next) } : { phase: "final", counted: 1 };
}

/**
 * Votes for each of five scores whose mean is about the wanted one; a spread that people have.
 *
 * @param {number} mean
 * @param {number} voters
 */
function histogramOf(mean, voters) {
  const weights = [1, 2, 3, 4, 5].map((score) => Math.exp(-((score - mean) ** 2) / 1.3));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => Math.round((voters * weight) / sum));
}

/**
 * @param {number} index
 * @param {number} ms
 * @param {string} live
 * @returns {TallyFrame}
 */
function tallyAt(index, ms, live) {
  const { phase, counted } = progress(index, ms);
  const { voters: all, means } = JEUX[index];
  const voters = Math.round(all * counted);
  const criteres = CRITERES.map(({ key }, place) => {
    // The first to vote are the keenest, and not of one mind.
    const early = (1 - counted) * Math.sin(place * 2 + counted * 7) * 0.9;
    const histogram = histogramOf(Math.min(4.9, means[place] + early), voters);
    const count = histogram.reduce((a, b) => a + b, 0);
    const sum = histogram.reduce((total, votes, k) => total + votes * (k + 1), 0);
    return { key, count, mean: count === 0 ? null : sum / count, histogram };
  });
  const known = criteres.map(({ mean }) => mean).filter((mean) => mean !== null);
  const mean = known.length === 0 ? null : known.reduce((a, b) => a + b, 0) / known.length;
  return { live, jeu: index + 1, epoch: 0, phase, rev: ms, voters, mean, criteres, as_of_us: (START_MS + ms) * 1000 };
}

/**
 * What a server would have said at an instant.
 *
 * @param {Demo} demo
 * @param {number} ms
 * @param {number} round how often the demo began anew
 * @returns {{state: State, tallies: TallyFrame[]}}
 */
export function framesAt(demo, ms, round) {
  const us = (/** @type {number} */ at) => (START_MS + at) * 1000;
  /** @type {LiveState} */
  const live = {
    live_id: `demo-${round}`,
    channel: "",
    title: "",
    status: ms < AT.end ? "open" : "closed",
    current: (ms < AT.next ? STAR : LAST) + 1,
    blind: demo === "blind",
    minimum_votes: demo === "minimum" ? MINIMUM : 1,
    bareme: { name: "", criteres: CRITERES },
    scale: { min: 1, max: 5 },
    programme: JEUX.map(({ title }, index) => {
      const { phase, closesMs } = progress(index, ms);
      return { jeu_id: index + 1, title, phase, epoch: 0, ...(closesMs !== undefined && { closes_at_us: us(closesMs) }) };
    }),
    ...(ms >= AT.end && { closed_at_us: us(AT.end) }),
    ...(demo === "test" && { test: true }),
  };
  const tallies = JEUX.map((_, index) => tallyAt(index, ms, live.live_id)).map((tally) => {
    const masked = demo === "blind" && tally.phase !== "final" ? "blind" : tally.voters < live.minimum_votes ? "minimum" : null;
    return masked && tally.phase !== "pending" ? { ...tally, mean: null, criteres: [], masked: /** @type {'blind'|'minimum'} */ (masked) } : tally;
  });
  return { state: { rev: ms, channel_title: "", live, stale: false }, tallies };
}

/** Has what the overlay uses of a connection. */
export class DemoConnection {
  snapshot = new Snapshot();
  #startedMs = performance.now();
  #round = 0;

  /**
   * @param {Exclude<Demo, 'off'>} demo
   * @param {() => void} onChange
   */
  constructor(demo, onChange) {
    this.demo = demo;
    this.onChange = onChange;
    this.clock = new ServerClock(() => START_MS + this.#ms());
  }

  start() {
    this.wake();
    if (this.demo === "on") setInterval(this.wake.bind(this), TICK_MS);
  }

  #ms() {
    return this.demo === "on" ? (performance.now() - this.#startedMs) % LOOP_MS : STILL[this.demo];
  }

  wake() {
    const { snapshot } = this;
    const ms = Math.floor(this.#ms());
    const round = Math.floor((performance.now() - this.#startedMs) / LOOP_MS);
    if (round !== this.#round) snapshot.forgetRevs();
    this.#round = round;
    const isLost = this.demo === "stale" || (this.demo === "on" && ms >= AT.lost && ms < AT.back);
    const link = isLost ? "lost" : "live";
    if (snapshot.link !== link) Object.assign(snapshot, { link, linkSince: isLost ? 0 : Date.now() });
    if (!isLost || snapshot.state === null) {
      const { state, tallies } = framesAt(this.demo, ms, this.demo === "on" ? round : 0);
      snapshot.applyState(state);
      for (const tally of tallies) snapshot.applyTally(tally);
    }
    this.onChange();
  }
}
