// @ts-check
/** What results say: who came first, and how lives compare. Numbers only; format.js makes text of them. */
/** @import { Critere, CritereSummary, Phase, Scale } from "./types.js" */
import { placed } from "./ranking.js";

/**
 * @typedef {{jeu_id: number, title: string, phase: Phase, voters: number, mean: number|null,
 *   criteres: CritereSummary[], unavailable?: boolean}} JeuResult
 * @typedef {{live_id: string, title: string, status: 'draft'|'open'|'closed', opened_at_us: number|null,
 *   criteres: Critere[], scale: Scale, jeux: JeuResult[]}} LiveResult as the API answers it
 * @typedef {{live: LiveResult, jeu: JeuResult, share: number}} Point one jeu in one live
 */

/**
 * Where a mean lies on its scale, 0 to 1. Means of lives with different scales compare by it alone.
 *
 * @param {number|null} mean
 * @param {Scale} scale
 */
export function shareOf(mean, { min, max }) {
  return mean === null ? 0 : Math.min(1, Math.max(0, (mean - min) / (max - min)));
}

/**
 * The best first, by the rule of all pages; jeux without a mean come last and have no rank.
 *
 * @param {JeuResult[]} jeux
 * @returns {{jeu: JeuResult, rank: number|null}[]}
 */
export function ranked(jeux) {
  const rated = jeux.flatMap((jeu) => (jeu.mean === null ? [] : [{ jeu, mean: jeu.mean, voters: jeu.voters }]));
  const rest = jeux.filter(({ mean }) => mean === null);
  return [...placed(rated).map(({ jeu, place }) => ({ jeu, rank: place })), ...rest.map((jeu) => ({ jeu, rank: null }))];
}

/** When a live went on air, microseconds since 1970. @param {Pick<LiveResult, 'opened_at_us'>} live */
export function openedAt(live) {
  return live.opened_at_us ?? 0;
}

/** Notes of a live, of all its jeux. @param {LiveResult} live */
export function noteCount(live) {
  return live.jeux.reduce((sum, { voters }) => sum + voters, 0);
}

/**
 * Mean of a live: of the means of its jeux, each counting once, however many voted on it.
 *
 * @param {LiveResult} live
 * @returns {number|null}
 */
export function meanOfLive(live) {
  const means = live.jeux.flatMap(({ mean }) => (mean === null ? [] : [mean]));
  return means.length === 0 ? null : means.reduce((sum, mean) => sum + mean, 0) / means.length;
}

/**
 * The jeux that got a mean in more than one live, by title, each with its lives in order of time.
 *
 * @param {LiveResult[]} lives
 */
export function recurring(lives) {
  /** @type {Map<number, {jeu_id: number, title: string, points: Point[]}>} */
  const found = new Map();
  for (const live of [...lives].sort((a, b) => openedAt(a) - openedAt(b))) {
    for (const jeu of live.jeux) {
      if (jeu.mean === null) continue;
      const known = found.get(jeu.jeu_id) ?? { jeu_id: jeu.jeu_id, title: jeu.title, points: [] };
      // A title may have been corrected since: the newest one is meant.
      known.title = jeu.title;
      known.points.push({ live, jeu, share: shareOf(jeu.mean, live.scale) });
      found.set(jeu.jeu_id, known);
    }
  }
  return [...found.values()].filter(({ points }) => points.length > 1).sort((a, b) => a.title.localeCompare(b.title));
}

/**
 * Criteres for which a live holds numbers, in the order of its bareme.
 *
 * @param {LiveResult} live
 * @param {JeuResult} jeu
 */
export function criteresOf(live, jeu) {
  return live.criteres.flatMap((critere) => {
    const summary = jeu.criteres.find(({ key }) => key === critere.key);
    return summary ? [{ critere, summary }] : [];
  });
}
