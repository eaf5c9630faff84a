// @ts-check
/**
 * Every movement of the overlay: transform and opacity only, short, and none at all when motion is off or nobody can
 * see the source.
 */

/** Fast at first, no overshoot. */
const EASE_OUT = "cubic-bezier(0.2, 0.7, 0.2, 1)";
const ENTER_MS = 300;
const LEAVE_MS = 200;
const DRAW_MS = 420;
const GROW_MS = 700;
/** Between things that come one after the other. */
const STEP_MS = 70;
const ROW_STEP_MS = 130;
/** How long a ranking is seen as it was, before a row joins it. */
const JOIN_WAIT_MS = 500;

export class Motion {
  /** @param {boolean} wanted */
  constructor(wanted) {
    this.wanted = wanted;
    this.awake = true;
  }

  get on() {
    return this.wanted && this.awake && !document.hidden;
  }

  /**
   * @param {Element} element
   * @param {Keyframe[]} keyframes
   * @param {KeyframeAnimationOptions} options
   */
  play(element, keyframes, options) {
    if (!this.on) return null;
    return element.animate(keyframes, { easing: EASE_OUT, fill: "backwards", ...options });
  }

  /** @param {Element} element @param {number} [delay] */
  rise(element, delay = 0) {
    this.play(element, [{ transform: "translateY(36px)", opacity: 0 }, { transform: "none", opacity: 1 }], { duration: ENTER_MS, delay });
  }

  /** @param {Element} element @returns {Promise<unknown>} when it is gone */
  leave(element) {
    const keyframes = [{ transform: "none", opacity: 1 }, { transform: "translateY(-20px)", opacity: 0 }];
    const gone = this.play(element, keyframes, { duration: LEAVE_MS, easing: "ease-in" });
    return gone ? gone.finished.catch(() => undefined) : Promise.resolve();
  }

  /** Scales draw themselves from left to right, one after the other. @param {Iterable<Element>} scales */
  draw(scales, delay = ENTER_MS / 2) {
    for (const [index, scale] of [...scales].entries()) {
      this.play(scale, [{ transform: "scaleX(0)" }, { transform: "none" }], { duration: DRAW_MS, delay: delay + index * STEP_MS });
    }
  }

  /** A final mean grows once. @param {Element} mean */
  grow(mean) {
    const keyframes = [{ transform: "none" }, { transform: "scale(1.12)", offset: 0.4 }, { transform: "none" }];
    this.play(mean, keyframes, { duration: GROW_MS, easing: "ease-in-out" });
  }

  /** Rows slide into place, the winner last. @param {Element[]} rows */
  slide(rows) {
    for (const [index, row] of rows.entries()) {
      const delay = ENTER_MS + (rows.length - 1 - index) * ROW_STEP_MS;
      this.play(row, [{ transform: "translateX(-40px)", opacity: 0 }, { transform: "none", opacity: 1 }], { duration: ENTER_MS, delay });
      this.draw(row.querySelectorAll("overlay-bar"), delay + ENTER_MS / 2);
    }
  }

  /** One row slides into its place among the others, which stood closer until then. @param {HTMLElement} row @param {HTMLElement[]} rows */
  join(row, rows) {
    const below = rows.slice(rows.indexOf(row) + 1);
    const delay = ENTER_MS + JOIN_WAIT_MS;
    for (const other of below) {
      this.play(other, [{ transform: `translateY(${-row.offsetHeight}px)` }, { transform: "none" }], { duration: ENTER_MS, delay });
    }
    const since = below.length > 0 ? delay + ENTER_MS / 2 : delay;
    this.play(row, [{ transform: "translateX(-40px)", opacity: 0 }, { transform: "none", opacity: 1 }], { duration: ENTER_MS, delay: since });
    this.draw(row.querySelectorAll("overlay-bar"), since + ENTER_MS / 2);
  }

  /** Everything in an element stands where it would come to rest. @param {Element} [root] */
  settle(root = document.documentElement) {
    for (const animation of root.getAnimations({ subtree: true })) animation.cancel();
  }
}
