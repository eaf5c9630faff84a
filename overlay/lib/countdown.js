// @ts-check
/** Says a countdown second by second, and stops by itself. */

export class Countdown {
  /** @param {() => void} onSecond */
  constructor(onSecond) {
    this.onSecond = onSecond;
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this.timer = undefined;
  }

  /** Asks for the next call when the shown second changes. @param {number} msLeft 0 stops */
  follow(msLeft) {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (msLeft > 0) this.timer = setTimeout(this.onSecond, (msLeft % 1000) + 5);
  }
}
