// @ts-check
/** Makes the address of an overlay: every setting of its URL as a control, with the real page next to it. */
/** @import { Admin, OverlayKey } from "../../lib/admin.js" */
/** @import { OverlayChoice } from "../../lib/builder.js" */
import { actionButton } from "../../lib/actions.js";
import { checkedChoice, DEFAULT_CHOICE, LANGS, MOMENTS, MOTIONS, obsAddress, overlayAddress, PLACES, QRS, RANKINGS, SCALE, THEMES } from "../../lib/builder.js";
import { choices } from "../../lib/choices.js";
import { readHex, rgbOf } from "../../lib/colours.js";
import { copyButton, copyLine, copyText } from "../../lib/copy.js";
import { define, h, rebuild } from "../../lib/dom.js";
import { contrast, textOn } from "../../lib/overlay-accent.js";
import { readStored, writeStored } from "../../lib/stored.js";
import { OverlayPreview } from "./overlay-preview.js";
import { groundPicture, placePicture, themePicture } from "./pictures.js";

const SIZES = {
  full: { width: 1920, height: 1080, label: "1920 × 1080" },
  obs: { width: 800, height: 600, label: "800 × 600" },
  small: { width: 400, height: 300, label: "400 × 300" },
};
/** @typedef {keyof typeof SIZES} SizeName */
const SIZE_NAMES = /** @type {SizeName[]} */ (Object.keys(SIZES));
const GROUNDS = /** @type {const} */ (["dark", "bright", "checker"]);

/** The look's own accent, where the streamer chose none. */
const OWN_ACCENT = "#ff5b35";

/** What custom CSS may name: the rest may change. */
const CLASSES = [".panel", ".panel__title", ".panel__mean", ".panel__critere", ".panel__votes"];
const PROPERTIES = ["--accent", "--overlay-panel", "--overlay-text", "--overlay-quiet", "--radius", "--font"];

const WORDS = {
  theme: { card: "admin.builder.theme.card", band: "admin.builder.theme.band", pill: "admin.builder.theme.pill" },
  lang: { "": "admin.builder.lang.auto", fr: "admin.builder.lang.fr", en: "admin.builder.lang.en" },
  motion: { "": "admin.builder.motion.auto", on: "admin.builder.motion.on", off: "admin.builder.motion.off" },
  qr: { off: "admin.builder.qr.off", idle: "admin.builder.qr.idle", on: "admin.builder.qr.on" },
  ranking: { each: "admin.builder.ranking.each", end: "admin.builder.ranking.end" },
  ground: { dark: "admin.builder.ground.dark", bright: "admin.builder.ground.bright", checker: "admin.builder.ground.checker" },
  moment: {
    pending: "admin.builder.moment.pending",
    open: "admin.builder.moment.open",
    closing: "admin.builder.moment.closing",
    final: "admin.builder.moment.final",
    ranking: "admin.builder.moment.ranking",
    minimum: "admin.builder.moment.minimum",
    stale: "admin.builder.moment.stale",
    on: "admin.builder.moment.on",
  },
  pos: {
    tl: "admin.builder.pos.tl",
    t: "admin.builder.pos.t",
    tr: "admin.builder.pos.tr",
    l: "admin.builder.pos.l",
    c: "admin.builder.pos.c",
    r: "admin.builder.pos.r",
    bl: "admin.builder.pos.bl",
    b: "admin.builder.pos.b",
    br: "admin.builder.pos.br",
  },
};

export class AdminBuilder extends HTMLElement {
  /** @type {OverlayChoice} */
  #choice = DEFAULT_CHOICE;
  /** @type {SizeName} */
  #size = "full";
  /** @type {typeof GROUNDS[number]} */
  #ground = "dark";
  /** @type {typeof MOMENTS[number]} */
  #moment = "open";
  /** The key that the address gets; empty: one that is made when it is copied. */
  #keyId = "";

  /** @param {Admin} admin @param {import("../../lib/i18n.js").Texts} t */
  setUp(admin, t) {
    this.admin = admin;
    this.t = t;
    this.preview = new OverlayPreview().setUp(t("admin.builder.preview"));
    this.view = h("div", { class: "builder__view" });
    this.settings = h("div", { class: "builder__settings" });
    this.address = h("div", { class: "rows builder__address" });
    this.replaceChildren(
      h("section", { class: "section", "aria-labelledby": "builder-title" },
        h("h2", { class: "section__title", id: "builder-title" }, t("admin.builder.title")),
        h("div", { class: "builder" },
          h("div", { class: "builder__stage" }, this.preview, this.view),
          h("div", { class: "builder__controls" }, this.settings, this.address))),
      this.#custom(t),
    );
    return this;
  }

  render() {
    const { admin, preview, view, settings, address } = this;
    if (!admin || !preview || !view || !settings || !address) return;
    // Hidden with its tab: nothing of it runs.
    if (this.offsetParent === null) return preview.rest();
    const slug = admin.slug;
    const criteres = this.#criteres();
    if (this.dataset.slug !== slug) {
      this.dataset.slug = slug;
      this.#choice = checkedChoice(readStored(`bareme.overlay.${slug}`));
    }
    rebuild(view, "once", () => this.#viewControls());
    rebuild(settings, JSON.stringify([slug, criteres.map(({ key }) => key)]), () => this.#controls(criteres));
    // A key of which only the hash was kept cannot be part of an address any more.
    const keys = admin.data.keys.filter(({ url }) => url !== undefined);
    if (!keys.some(({ key_id: id }) => id === this.#keyId)) this.#keyId = keys[0]?.key_id ?? "";
    rebuild(address, JSON.stringify([slug, admin.session?.role, keys]), () => this.#address(keys));
    this.#showPreview();
  }

  /** Criteres that a live of this channel shows: of the live on air or last, else of the first bareme. */
  #criteres() {
    const { admin } = this;
    return (admin?.snapshot.live?.bareme ?? admin?.data.baremes[0])?.criteres ?? [];
  }

  /** @param {Partial<OverlayChoice>} change */
  #change(change) {
    this.#choice = { ...this.#choice, ...change };
    writeStored(`bareme.overlay.${this.admin?.slug}`, this.#choice);
    this.#showPreview();
  }

  #showPreview() {
    const { admin, preview } = this;
    if (!admin || !preview) return;
    // Without a key: the overlay shows made-up numbers to anybody.
    const page = new URL(`${admin.base}/overlay/${encodeURIComponent(admin.slug)}`, location.href).href;
    const address = overlayAddress(page, this.#choice, { demo: this.#moment, ...(this.#choice.lang === "" && { lang: document.documentElement.lang }) });
    preview.show(address, SIZES[this.#size], this.#ground);
  }

  #viewControls() {
    const { t } = this;
    if (!t) return [];
    const seen = (/** @type {() => void} */ change) => {
      change();
      this.#showPreview();
    };
    return [
      choices(t("admin.builder.moment"), MOMENTS.map((value) => ({ value, label: t(WORDS.moment[value]) })), this.#moment, (value) => seen(() => (this.#moment = value)), "is-chips"),
      h("div", { class: "builder__sample" },
        choices(t("admin.builder.size"), SIZE_NAMES.map((value) => ({ value, label: SIZES[value].label })), this.#size, (value) => seen(() => (this.#size = value)), "is-chips"),
        choices(t("admin.builder.ground"), GROUNDS.map((value) => ({ value, label: t(WORDS.ground[value]), picture: groundPicture(value) })), this.#ground, (value) => seen(() => (this.#ground = value)), "is-grounds")),
    ];
  }

  /** @param {import("../../lib/types.js").Critere[]} criteres */
  #controls(criteres) {
    const { t } = this;
    if (!t) return [];
    const choice = this.#choice;
    return [
      choices(t("admin.builder.theme"), THEMES.map((value) => ({ value, label: t(WORDS.theme[value]), picture: h("span", { class: "theme-choice", "aria-hidden": "true" }, themePicture(value), t(WORDS.theme[value])) })), choice.theme, (theme) => this.#change({ theme }), "is-themes"),
      h("div", { class: "builder__pair" },
        choices(t("admin.builder.pos"), PLACES.map((value) => ({ value, label: t(WORDS.pos[value]), picture: placePicture() })), choice.pos, (pos) => this.#change({ pos }), "is-places"),
        h("div", { class: "builder__column" }, this.#scale(), this.#accent())),
      choices(t("admin.builder.lang"), LANGS.map((value) => ({ value, label: t(WORDS.lang[value]) })), choice.lang, (lang) => this.#change({ lang })),
      choices(t("admin.builder.motion"), MOTIONS.map((value) => ({ value, label: t(WORDS.motion[value]) })), choice.motion, (motion) => this.#change({ motion })),
      choices(t("admin.builder.qr"), QRS.map((value) => ({ value, label: t(WORDS.qr[value]) })), choice.qr, (qr) => this.#change({ qr })),
      choices(t("admin.builder.ranking"), RANKINGS.map((value) => ({ value, label: t(WORDS.ranking[value]) })), choice.ranking, (ranking) => this.#change({ ranking })),
      criteres.length === 0 ? null : this.#critereChecks(criteres),
    ];
  }

  #scale() {
    const { t } = this;
    const percent = (/** @type {number} */ scale) => t?.("admin.builder.percent", { n: Math.round(scale * 100) }) ?? "";
    const shown = h("span", { class: "builder__value", "aria-hidden": "true" });
    const say = () => {
      shown.textContent = percent(this.#choice.scale);
      slider.setAttribute("aria-valuetext", shown.textContent);
    };
    const oninput = () => {
      this.#change({ scale: Number(slider.value) });
      say();
    };
    const slider = h("input", { type: "range", class: "slider", id: "overlay-scale", ...SCALE, value: this.#choice.scale, oninput });
    say();
    return h("div", { class: "field" },
      h("span", { class: "builder__head" }, h("label", { class: "field__label", for: "overlay-scale" }, t?.("admin.builder.scale") ?? ""), shown),
      slider);
  }

  #accent() {
    const { t } = this;
    if (!t) return null;
    const text = h("input", { class: "field__input", autocomplete: "off", spellcheck: "false", maxlength: 7, placeholder: OWN_ACCENT, value: this.#choice.accent, "aria-describedby": "accent-said" });
    const well = h("input", { type: "color", class: "accent__well", value: this.#choice.accent || OWN_ACCENT, "aria-label": t("admin.builder.accent_pick") });
    const sample = h("b", { class: "accent__sample", "aria-hidden": "true" }, "4,2");
    const said = h("span", { class: "field__hint", id: "accent-said", role: "status" });
    const number = new Intl.NumberFormat(t.lang, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
    const show = () => {
      const typed = text.value.trim();
      const hex = typed === "" ? OWN_ACCENT : readHex(typed);
      text.setAttribute("aria-invalid", String(hex === null));
      said.classList.toggle("problem", hex === null);
      if (hex === null) {
        said.textContent = t("admin.builder.accent_wrong");
        return;
      }
      const on = textOn(rgbOf(hex));
      [sample.style.backgroundColor, sample.style.color] = [hex, on];
      said.textContent = t("admin.builder.contrast", { ratio: number.format(contrast(rgbOf(hex), rgbOf(on))) });
      well.value = hex;
      this.#change({ accent: typed === "" ? "" : hex });
    };
    text.addEventListener("input", show);
    well.addEventListener("input", () => {
      text.value = well.value;
      show();
    });
    show();
    return h("div", { class: "field" },
      h("label", { class: "field" }, h("span", { class: "field__label" }, t("admin.builder.accent")), text),
      h("div", { class: "accent" }, well, sample, said));
  }

  /** @param {import("../../lib/types.js").Critere[]} criteres */
  #critereChecks(criteres) {
    const { t } = this;
    if (!t) return null;
    const isShown = (/** @type {string} */ key) => this.#choice.criteres?.includes(key) ?? true;
    const boxes = criteres.map(({ key, labels }) => {
      const box = h("input", { type: "checkbox", checked: isShown(key), onchange: () => onchange(box) });
      return { key, box, label: t.own(labels) };
    });
    const hint = h("p", { class: "field__hint", role: "status" });
    const onchange = (/** @type {HTMLInputElement} */ touched) => {
      const chosen = boxes.filter(({ box }) => box.checked).map(({ key }) => key);
      // An overlay that is asked for no critere shows all of them: it has to be one at least.
      hint.textContent = chosen.length === 0 ? t("admin.builder.criteres_one") : "";
      if (chosen.length === 0) {
        touched.checked = true;
        return;
      }
      this.#change({ criteres: chosen.length === boxes.length ? null : chosen });
    };
    return h("fieldset", { class: "choices is-checks" },
      h("legend", { class: "field__label" }, t("admin.builder.criteres")),
      h("div", { class: "choices__options" }, boxes.map(({ box, label }) => h("label", { class: "check" }, box, h("span", { dir: "auto" }, label)))), hint);
  }

  /** @param {OverlayKey[]} keys */
  #address(keys) {
    const { admin, t } = this;
    if (!admin || !t) return [];
    if (admin.session?.role !== "admin") return [h("p", { class: "empty" }, t("admin.builder.moderator"))];
    const chosen = () => keys.find(({ key_id: id }) => id === this.#keyId);
    const url = () => overlayAddress(chosen()?.url ?? location.href, this.#choice);
    const make = async () => {
      const made = await admin.api.post(admin.path("/overlay-keys"), { name: "OBS" });
      this.#keyId = made.key_id;
      const done = await copyText(overlayAddress(made.url, this.#choice));
      await admin.reload();
      if (this.said) this.said.textContent = t(done ? "admin.builder.made" : "admin.copy_failed");
    };
    this.said = h("p", { class: "field__hint", role: "status" });
    const fresh = actionButton(t, t("admin.builder.copy_new"), make, { class: "is-main", focus: "copy-overlay" });
    if (keys.length === 0) return [fresh, h("p", { class: "field__hint" }, t("admin.builder.no_key")), this.said];
    const line = copyLine(t("admin.links.overlay"), url, true, t);
    const copy = copyButton(t, url, { label: t("admin.builder.copy"), class: "is-main" });
    copy.dataset.focus = "copy-overlay";
    // No `href`: browsers write it under the pointer, on a screen that gets streamed.
    const drag = h("span", { class: "button is-quiet is-drag", draggable: "true", ondragstart: (/** @type {DragEvent} */ event) => {
      const name = `Barème ${admin.channel?.title ?? ""}`.trim();
      const address = obsAddress(url(), { name, ...SIZES[this.#size] });
      event.dataTransfer?.setData("text/uri-list", address);
      event.dataTransfer?.setData("text/plain", address);
    } }, t("admin.builder.drag"));
    const onchange = (/** @type {Event} */ event) => {
      this.#keyId = /** @type {HTMLSelectElement} */ (event.target).value;
      const isNew = this.#keyId === "";
      fresh.hidden = !isNew;
      for (const part of [line, copy, drag]) part.hidden = isNew;
    };
    fresh.hidden = true;
    const options = [...keys.map((key) => h("option", { value: key.key_id, selected: key.key_id === this.#keyId }, key.name)), h("option", { value: "" }, t("admin.builder.new_key"))];
    return [
      h("label", { class: "field" }, h("span", { class: "field__label" }, t("admin.builder.key")), h("select", { class: "field__input", onchange }, options)),
      line,
      h("div", { class: "chips" }, copy, fresh, drag),
      h("p", { class: "field__hint" }, t("admin.builder.drag_hint")),
      this.said,
    ];
  }

  /** @param {import("../../lib/i18n.js").Texts} t */
  #custom(t) {
    const list = (/** @type {string[]} */ names) => h("ul", { class: "names" }, names.map((name) => h("li", {}, h("code", {}, name), copyButton(t, name, { name }))));
    return h("details", { class: "more" },
      h("summary", {}, t("admin.builder.custom")),
      h("p", { class: "field__hint" }, t("admin.builder.custom_hint")),
      h("h3", { class: "field__label" }, t("admin.builder.custom_properties")),
      list(PROPERTIES),
      h("h3", { class: "field__label" }, t("admin.builder.custom_classes")),
      list(CLASSES));
  }
}

define("admin-builder", AdminBuilder);
