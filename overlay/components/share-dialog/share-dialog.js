// @ts-check
/** Shows the picture of a live's ranking, in a language and on a ground of one's choice, to save or to copy. */
/** @import { Shared } from "../../lib/share-image.js" */
import { actionButton } from "../../lib/actions.js";
import { choices } from "../../lib/choices.js";
import { define, h, icon } from "../../lib/dom.js";
import { download, fileName } from "../../lib/download.js";
import { createFormat } from "../../lib/format.js";
import { createTexts } from "../../lib/i18n.js";
import { drawShare, SIZE } from "../../lib/share-image.js";

const LANGS = /** @type {const} */ (["fr", "en"]);
const GROUNDS = /** @type {const} */ (["dark", "light"]);
const WORDS = {
  lang: { fr: "admin.share.fr", en: "admin.share.en" },
  ground: { dark: "admin.share.dark", light: "admin.share.light" },
};

export class ShareDialog extends HTMLElement {
  /** @type {keyof typeof WORDS.ground} */
  #ground = "dark";

  /** @param {Shared} shared @param {import("../../lib/i18n.js").Texts} t */
  setUp(shared, t) {
    this.shared = shared;
    this.t = t;
    this.lang = t.lang === "en" ? "en" : "fr";
    this.canvas = h("canvas", { class: "share__picture", width: SIZE.width, height: SIZE.height, role: "img", "aria-label": t("admin.share.alt", { title: shared.live.title }) });
    const close = h("button", { type: "button", class: "button is-icon is-bare share__close", title: t("admin.links.close"), onclick: () => this.dialog?.close() }, icon("close"), h("span", { class: "sr-only" }, t("admin.links.close")));
    this.said = h("p", { class: "field__hint", role: "status" });
    const chosen = (/** @type {() => void} */ change) => {
      change();
      return this.#draw();
    };
    this.dialog = h("dialog", { class: "share", "aria-labelledby": "share-title", onclose: () => this.remove() },
      h("div", { class: "share__head" }, h("h2", { class: "section__title", id: "share-title" }, t("admin.share.title")), close),
      this.canvas,
      h("div", { class: "builder__pair" },
        choices(t("admin.share.lang"), LANGS.map((value) => ({ value, label: t(WORDS.lang[value]) })), this.lang, (value) => chosen(() => (this.lang = value))),
        choices(t("admin.share.ground"), GROUNDS.map((value) => ({ value, label: t(WORDS.ground[value]) })), this.#ground, (value) => chosen(() => (this.#ground = value)))),
      h("div", { class: "chips" },
        actionButton(t, t("admin.share.save"), async () => download(await this.#blob(), fileName(shared.live.title, ".png")), { class: "is-main" }),
        actionButton(t, t("admin.share.copy"), () => this.#copy())),
      this.said);
    this.replaceChildren(this.dialog);
    return this;
  }

  async connectedCallback() {
    await this.#draw();
    this.dialog?.showModal();
  }

  async #draw() {
    const { shared, canvas, lang } = this;
    if (!shared || !canvas) return;
    const messages = (await import(`../../messages/${lang}/admin.js`)).default;
    const accent = getComputedStyle(this).getPropertyValue("--accent").trim();
    drawShare(canvas, shared, { t: createTexts(messages, /** @type {string} */ (lang)), format: createFormat(/** @type {string} */ (lang)), ground: this.#ground, accent });
    canvas.dataset.drawn = `${lang} ${this.#ground}`;
  }

  /** @returns {Promise<Blob>} */
  #blob() {
    return new Promise((resolve, reject) => this.canvas?.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no picture"))), "image/png"));
  }

  async #copy() {
    const { t, said } = this;
    if (!t || !said) return;
    try {
      // The clipboard wants the promise, not the picture: it has to be asked within the click.
      await navigator.clipboard.write([new ClipboardItem({ "image/png": this.#blob() })]);
      said.textContent = t("admin.copied");
    } catch {
      said.textContent = t("admin.share.no_copy");
    }
  }
}

define("share-dialog", ShareDialog);
