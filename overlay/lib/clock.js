// @ts-check
/** Estimate of the server's clock from what it says of the time. */

/** An estimate older than this gives way to a worse measurement: local clocks drift and machines sleep. */
const TRUST_MS = 60_000;

export class ServerClock {
  /** @param {() => number} nowMs the local clock, milliseconds since 1970 */
  constructor(nowMs = Date.now) {
    this.nowMs = nowMs;
    /** Server minus local, milliseconds. */
    this.offsetMs = 0;
    this.errorMs = Infinity;
    this.measuredAtMs = -Infinity;
  }

  /**
   * A message said the time, and nobody knows how long it travelled. Taken on each new connection, because the local
   * clock may have been set while there was none.
   *
   * @param {number} serverUs
   */
  greet(serverUs) {
    const now = this.nowMs();
    this.offsetMs = serverUs / 1000 - now;
    this.errorMs = Infinity;
    this.measuredAtMs = now;
  }

  /**
   * A question sent at `sentMs` was answered just now.
   *
   * @param {number} serverUs
   * @param {number} sentMs
   */
  measure(serverUs, sentMs) {
    const now = this.nowMs();
    const errorMs = Math.max(0, now - sentMs) / 2;
    if (errorMs > this.errorMs && now - this.measuredAtMs < TRUST_MS) return;
    this.offsetMs = serverUs / 1000 - (sentMs + errorMs);
    this.errorMs = errorMs;
    this.measuredAtMs = now;
  }

  /** The server's time, in whole microseconds since 1970. */
  nowUs() {
    return Math.round((this.nowMs() + this.offsetMs) * 1000);
  }

  /**
   * Milliseconds until an instant of the server's clock, never negative.
   *
   * @param {number} instantUs
   */
  msUntil(instantUs) {
    return Math.max(0, instantUs / 1000 - this.nowMs() - this.offsetMs);
  }

  /**
   * Version of a new note: after the last one, and otherwise the server's time.
   *
   * @param {number} lastV
   */
  nextVersion(lastV) {
    return Math.max(lastV + 1, this.nowUs());
  }
}
