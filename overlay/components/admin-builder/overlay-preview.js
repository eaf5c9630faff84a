// @ts-check
/** The overlay's own page in a frame, as large as in OBS and shrunk to the dock, over a background of one's choice. */
import { define, h } from "../../lib/dom.js";

/** How long typing has to pause before the page is loaded again. */
const SETTLED_MS = 200;

export class OverlayPreview extends HTMLElement {
  /** @type {HTMLIFrameElement|null} */
  #frame = null;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #settling;
  #address = "";
  #size = { width: 1920, height: 1080 };
  #title = "";

  /** @param {string} title of the frame */
  setUp(title) {
    this.#title = title;
    this.classList.add("preview");
    this.box = h("div", { class: "preview__source" });
    this.replaceChildren(this.box);
    new ResizeObserver(() => this.#fit()).observe(this);
    return this;
  }

  /**
   * @param {string} address
   * @param {{width: number, height: number}} size of the source in OBS
   * @param {string} ground
   */
  show(address, size, ground) {
    this.dataset.ground = ground;
    this.#size = size;
    this.#fit();
    if (address === this.#address) return;
    this.#address = address;
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#load(), this.#frame ? SETTLED_MS : 0);
  }

  /** Nobody looks: the page in the frame goes away, with its timers. */
  rest() {
    clearTimeout(this.#settling);
    this.#address = "";
    this.#frame?.remove();
    this.#frame = null;
  }

  #load() {
    if (this.#frame?.contentWindow) {
      // Not `src`: each change would be a step of the browser's history.
      this.#frame.contentWindow.location.replace(this.#address);
      return;
    }
    this.#frame = h("iframe", { class: "preview__frame", title: this.#title, src: this.#address, tabindex: -1 });
    this.box?.replaceChildren(this.#frame);
    this.#fit();
  }

  #fit() {
    const { width, height } = this.#size;
    const scale = Math.min(this.clientWidth / width, this.clientHeight / height);
    if (!this.box || !(scale > 0)) return;
    this.box.style.width = `${width}px`;
    this.box.style.height = `${height}px`;
    this.box.style.transform = `translate(-50%, -50%) scale(${scale.toFixed(5)})`;
  }
}

define("overlay-preview", OverlayPreview);
