// A room as a page of a library's manual would have it: notes in a map, averages kept up to date, one frame for everybody
// at each tick if something changed. Nothing is stored; an acknowledged vote is in memory.

const LIVE = "019b76da-a800-7000-8000-000000000001";
const KEYS = ["fun", "duree"];

export const [port, tickMs, frameBytes] = process.argv.slice(2).map(Number);

export class Room {
  #notes = new Map();
  #counts = Object.fromEntries(KEYS.map((key) => [key, [0, 0, 0, 0, 0]]));
  #rev = 1;
  #changed = false;

  /** Takes a note and says how it is answered. */
  take(viewer, message) {
    if (message?.t !== "note" || !Number.isSafeInteger(message.v)) {
      return { t: "reply", status: "invalid" };
    }
    const before = this.#notes.get(viewer);
    if (before && before.v >= message.v) {
      return { t: "reply", live: message.live, jeu: message.jeu, v: message.v, status: "stale" };
    }
    for (const key of KEYS) {
      if (before?.scores[key]) this.#counts[key][before.scores[key] - 1] -= 1;
      if (message.scores[key]) this.#counts[key][message.scores[key] - 1] += 1;
    }
    this.#notes.set(viewer, message);
    this.#changed = true;
    return { t: "reply", live: message.live, jeu: message.jeu, v: message.v, status: "ok" };
  }

  state() {
    return { t: "state", rev: 1, channel_title: "Mesure", live: { live_id: LIVE, status: "open" }, stale: false };
  }

  tally() {
    const criteres = KEYS.map((key) => {
      const histogram = this.#counts[key];
      const count = histogram.reduce((sum, n) => sum + n, 0);
      const sum = histogram.reduce((total, n, at) => total + n * (at + 1), 0);
      return { key, count, mean: count ? sum / count : null, histogram };
    });
    const means = criteres.map((critere) => critere.mean ?? 0);
    const mean = (means[0] + means[1]) / 2;
    const voters = this.#notes.size;
    const frame = { t: "tally", live: LIVE, jeu: 1, epoch: 0, phase: "open", rev: this.#rev, voters, mean, criteres };
    // As long as the frame it is compared with, which has a head of four bytes.
    const missing = frameBytes - 4 - JSON.stringify(frame).length - ',"x":""'.length;
    return missing > 0 ? { ...frame, x: "x".repeat(missing) } : frame;
  }

  /** Calls back at each tick with new numbers, if there are any. */
  everyTick(publish) {
    if (!tickMs) return;
    setInterval(() => {
      if (!this.#changed) return;
      this.#changed = false;
      this.#rev += 1;
      publish(this.tally());
    }, tickMs);
  }
}
