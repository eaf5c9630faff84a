// @ts-check
/** A number that counts up or down to its new value, never past it. */

const GLIDE_MS = 360;

export class Gliding {
  /** @param {(value: number|null) => void} show */
  constructor(show) {
    this.show = show;
    /** @type {number|null} */
    this.shown = null;
    /** @type {number|null|undefined} */
    this.target = undefined;
    this.subject = "";
    this.frame = 0;
  }

  /**
   * @param {number|null} target
   * @param {boolean} motion whether to glide, or to cut
   * @param {string} subject what the number is of; another one cuts
   */
  to(target, motion, subject) {
    if (target === this.target && subject === this.subject) return;
    const from = this.shown;
    cancelAnimationFrame(this.frame);
    const cut = !motion || subject !== this.subject || from === null || target === null || document.hidden;
    this.target = target;
    this.subject = subject;
    if (cut) return this.#set(target);
    const start = performance.now();
    const step = (/** @type {number} */ now) => {
      const progress = Math.min(1, Math.max(0, (now - start) / GLIDE_MS));
      const eased = 1 - (1 - progress) ** 3;
      this.#set(progress === 1 ? target : from + (target - from) * eased);
      if (progress < 1) this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }

  /** @param {number|null} value */
  #set(value) {
    this.shown = value;
    this.show(value);
  }
}
