// @ts-check
/**
 * Shapes of the wire contract, as docs/protocol.md describes them. Types only: nothing here runs.
 *
 * @typedef {{fr: string, en: string}} Bilingual
 * @typedef {{key: string, labels: Bilingual, min: number, max: number, step: number, weight: number,
 *   low: Bilingual, high: Bilingual, optional: boolean}} Critere
 * @typedef {{min: number, max: number}} Scale
 * @typedef {{name: string, scale?: Scale, criteres: Critere[]}} Bareme
 * @typedef {'pending'|'open'|'closing'|'final'} Phase
 * @typedef {{jeu_id: number, title: string, platform?: string, genre?: string, year?: number, phase: Phase,
 *   epoch: number, closes_at_us?: number, closed_at_us?: number, unreadable?: true}} ProgrammeEntry
 * @typedef {{live_id: string, channel: string, title: string, status: 'draft'|'open'|'closed', current: number|null,
 *   blind: boolean, minimum_votes: number, bareme: Bareme, scale: Scale, programme: ProgrammeEntry[],
 *   ends_at_us?: number, closed_at_us?: number, test?: true}} LiveState
 * @typedef {{t?: 'state', rev: number, channel_title: string, live: LiveState|null, stale: boolean}} State
 * @typedef {{key: string, count: number, mean: number|null, histogram: number[]}} CritereSummary
 * @typedef {{t?: 'tally', live: string, jeu: number, epoch: number, phase: Phase, rev: number, voters: number,
 *   mean: number|null, criteres: CritereSummary[], masked?: 'blind'|'minimum', as_of_us: number}} TallyFrame
 * @typedef {Record<string, number>} Scores
 * @typedef {{t?: 'mine', live: string, jeu: number, v: number, scores: Scores}} Mine
 * @typedef {{field: string, rule: string, params: Record<string, number>, reason: string, remedy: string}} Problem
 * @typedef {'ok'|'unknown'|'retry_after'|'stale'|'closed'|'not_open'|'invalid'|'too_fast'} Status
 * @typedef {{t?: 'reply', live: string|null, jeu: number|null, v: number|null, status: Status,
 *   held?: {v: number, scores: Scores}, retry_after_ms?: number, problem?: Problem, now_us?: number}} Reply
 * @typedef {{t: 'welcome', protocol: number, now_us: number, build: string, channel: string, viewer?: string,
 *   ping_interval_s: number}} Welcome
 * @typedef {{t: 'pong', id: number, now_us: number}} Pong
 * @typedef {{t?: 'admin', sockets: number, votes_per_s: number, pod: string, lists: number,
 *   newcomers?: {admitted: number, refused: number, addresses: number}}} AdminFrame
 *
 * @typedef {{live: string, jeu: number, v: number, scores: Scores|null}} Wish The one wanted note on a jeu; `null`
 *   scores take it back.
 * @typedef {{status: Status, problem?: Problem, v: number}} Refusal
 * @typedef {'connecting'|'live'|'polling'|'lost'|'refused'|'gone'} Link
 */
export {};
