// @ts-check
/** Changes of a live's order of jeux that lose nothing when somebody else changes it at the same moment. */
/** @import { LiveState } from "./types.js" */
import { ApiError } from "./api.js";

/** How often a change is made anew over somebody else's. */
const MOST_ATTEMPTS = 4;

/**
 * Changes the order on the server from what it is there: the server refuses a change of an order that is no more.
 *
 * @param {import("./api.js").Api} api
 * @param {LiveState} live
 * @param {(order: number[]) => number[]} change
 * @returns {Promise<LiveState>} the live as it is then
 */
export async function changeProgramme(api, live, change) {
  const path = `admin/lives/${live.live_id}`;
  let known = live;
  for (let attempt = 1; ; attempt += 1) {
    const before = orderOf(known);
    try {
      return await api.patch(path, { jeux: change(before), jeux_before: before });
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== "programme_changed" || attempt === MOST_ATTEMPTS) throw error;
      known = await api.get(path);
    }
  }
}

/** @param {LiveState} live */
export function orderOf(live) {
  return live.programme.map((entry) => entry.jeu_id);
}

/**
 * An order with one jeu moved in front of another.
 *
 * @param {number[]} order
 * @param {number} jeu
 * @param {number|null} before null, or a jeu that is not there any more: to the end
 */
export function moved(order, jeu, before) {
  const rest = order.filter((id) => id !== jeu);
  const at = before === null ? -1 : rest.indexOf(before);
  return rest.toSpliced(at < 0 ? rest.length : at, 0, jeu);
}
