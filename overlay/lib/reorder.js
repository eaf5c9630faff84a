// @ts-check
/** Dragging rows of a list to another place, with a mouse, a pen or a finger. The keyboard's way is the list's own. */

/** Rows nearer than this to the edge of the window scroll it. */
const EDGE_PX = 48;
const SCROLL_PX = 10;

/**
 * Rows are children of `list` with `data-id`; one takes hold of them at an element with `data-grip`.
 *
 * @param {HTMLElement} list
 * @param {(id: string, before: string|null) => void} onDrop where the row was let go: in front of another, or at the end
 * @param {() => void} onEnd after each drag, dropped or not: the list may be built anew again
 */
export function makeReorderable(list, onDrop, onEnd) {
  list.addEventListener("pointerdown", (event) => {
    const grip = event.target instanceof Element ? event.target.closest("[data-grip]") : null;
    const row = grip?.closest("[data-id]");
    if (!(grip instanceof HTMLElement) || !(row instanceof HTMLElement) || event.button !== 0 || grip.matches(":disabled")) return;
    new Drag(list, row, grip, event, onDrop, onEnd);
  });
}

class Drag {
  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} row
   * @param {HTMLElement} grip
   * @param {PointerEvent} event
   * @param {(id: string, before: string|null) => void} onDrop
   * @param {() => void} onEnd
   */
  constructor(list, row, grip, event, onDrop, onEnd) {
    this.list = list;
    this.row = row;
    this.onDrop = onDrop;
    this.rows = /** @type {HTMLElement[]} */ ([...list.children]);
    this.from = this.to = this.rows.indexOf(row);
    // Places on the page, so that scrolling does not shift them.
    this.boxes = this.rows.map((other) => {
      const { top, height } = other.getBoundingClientRect();
      return { top: top + scrollY, height };
    });
    this.startY = event.clientY + scrollY;
    this.clientY = event.clientY;
    list.classList.add("is-dragging");
    row.classList.add("is-dragged");
    grip.setPointerCapture(event.pointerId);
    const aborter = new AbortController();
    this.end = () => {
      aborter.abort();
      onEnd();
    };
    const { signal } = aborter;
    grip.addEventListener("pointermove", (moved) => this.#move(moved.clientY), { signal });
    grip.addEventListener("pointerup", () => this.#finish(true), { signal });
    grip.addEventListener("pointercancel", () => this.#finish(false), { signal });
    document.addEventListener("keydown", (pressed) => pressed.key === "Escape" && this.#finish(false), { signal });
    this.frame = requestAnimationFrame(() => this.#scroll());
  }

  /** @param {number} clientY */
  #move(clientY) {
    this.clientY = clientY;
    const dy = clientY + scrollY - this.startY;
    const { top, height } = this.boxes[this.from];
    const middle = top + height / 2 + dy;
    this.to = this.boxes.filter((box, index) => index !== this.from && box.top + box.height / 2 < middle).length;
    this.rows.forEach((other, index) => {
      const up = index > this.from && index <= this.to;
      const down = index < this.from && index >= this.to;
      other.style.transform = index === this.from ? `translateY(${dy}px)` : up ? `translateY(${-height}px)` : down ? `translateY(${height}px)` : "";
    });
  }

  #scroll() {
    const over = this.clientY < EDGE_PX ? -SCROLL_PX : this.clientY > innerHeight - EDGE_PX ? SCROLL_PX : 0;
    if (over !== 0) {
      scrollBy(0, over);
      this.#move(this.clientY);
    }
    this.frame = requestAnimationFrame(() => this.#scroll());
  }

  /** @param {boolean} drops */
  #finish(drops) {
    cancelAnimationFrame(this.frame);
    this.list.classList.remove("is-dragging");
    this.row.classList.remove("is-dragged");
    for (const row of this.rows) row.style.transform = "";
    const others = this.rows.filter((other) => other !== this.row);
    if (drops && this.to !== this.from) this.onDrop(this.row.dataset.id ?? "", others[this.to]?.dataset.id ?? null);
    this.end();
  }
}
