// @ts-check
/** Where phones vote: a QR code and the short address. */
import { define, h } from "../../lib/dom.js";

export class OverlayQr extends HTMLElement {
  /**
   * @param {string} words
   * @param {string} address what people read: without a scheme
   * @param {string} image
   */
  setUp(words, address, image) {
    this.classList.add("qr");
    this.hidden = true;
    const code = h("img", { class: "qr__code", alt: "", width: 256, height: 256, src: image });
    // Without its image the address is still worth saying.
    code.addEventListener("error", () => code.remove());
    const text = h("p", { class: "qr__words" }, h("span", { class: "qr__call" }, words), h("b", { class: "qr__address" }, address));
    this.replaceChildren(code, text);
    return this;
  }
}

define("overlay-qr", OverlayQr);
