// @ts-check
/** The channel's baremes: from a preset, then every critere editable. A live keeps a frozen copy, so editing is safe. */
/** @import { Bareme, Critere } from "../../lib/types.js" */
import { actionButton, actionForm, field, valueOf } from "../../lib/actions.js";
import { define, h, icon, rebuild } from "../../lib/dom.js";
import { rebuildKeepingFocus } from "../../lib/focus.js";
import { critereWords, presetName } from "../../lib/live-plan.js";
import { BaremePreview } from "../bareme-preview/bareme-preview.js";

const MOST_CRITERES = 12;

export class BaremeEditor extends HTMLElement {
  /** Baremes that are open to be edited, and stay so when the list changes. @type {Set<string>} */
  #opened = new Set();

  /**
   * @param {import("../../lib/admin.js").Admin} admin
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {import("../../lib/format.js").Format} format
   */
  setUp(admin, t, format) {
    this.admin = admin;
    this.t = t;
    this.format = format;
    this.heading = h("h2", { class: "section__title", tabindex: -1 }, t("admin.baremes"));
    this.list = h("div", { class: "rows is-tight" });
    this.add = h("div", { class: "chips" });
    this.from = h("p", { class: "field__hint" }, t("admin.bareme.from_preset"));
    this.replaceChildren(this.heading, this.list, this.from, this.add);
    this.classList.add("section");
    return this;
  }

  render() {
    const { admin, t, list, add, heading, from } = this;
    if (!admin || !t || !list || !add || !heading || !from) return;
    from.hidden = admin.data.baremes.length === 0;
    // What somebody is typing is not taken away by what somebody else changes.
    const isEditing = list.contains(document.activeElement) && document.activeElement instanceof HTMLInputElement;
    if (!isEditing) {
      rebuildKeepingFocus(list, JSON.stringify([admin.slug, admin.data.baremes]), () =>
        admin.data.baremes.length === 0 ? [h("p", { class: "field__hint" }, t("admin.bareme.none"))] : admin.data.baremes.map((bareme) => this.#bareme(bareme)), heading);
    }
    rebuild(add, JSON.stringify([admin.slug, admin.presets]), () =>
      admin.presets.map((preset, index) => {
        const name = presetName(preset, t);
        const run = async () => {
          const { bareme_id } = await admin.api.post(admin.path("/baremes"), { ...preset, name });
          this.#opened.add(bareme_id);
          await admin.reload();
        };
        return actionButton(t, `+ ${name}`, run, { class: "is-small", focus: `preset/${index}` });
      }),
    );
  }

  /** @param {import("../../lib/admin.js").SavedBareme} bareme */
  #bareme(bareme) {
    const { admin, t, format } = this;
    if (!admin || !t || !format) return null;
    const path = admin.path(`/baremes/${bareme.bareme_id}`);
    const rows = h("div", { class: "criteres-edit" }, bareme.criteres.map((critere) => this.#critere(critere, bareme.criteres.length === 1)));
    const preview = new BaremePreview().setUp(t, format);
    const read = (/** @type {HTMLFormElement} */ form) => {
      /** @type {Bareme} */
      const body = { name: valueOf(form, "name"), criteres: [...rows.children].map(readCritere) };
      if (bareme.scale) body.scale = bareme.scale;
      return body;
    };
    const save = async (/** @type {HTMLFormElement} */ form) => {
      await admin.api.put(path, read(form));
      this.#opened.delete(bareme.bareme_id);
      this.heading?.focus({ preventScroll: true });
      await admin.reload();
    };
    const another = () => {
      if (rows.children.length >= MOST_CRITERES) return;
      const row = this.#critere(emptyCritere(rows.children.length + 1), true);
      rows.append(row);
      row.querySelector("input")?.focus();
      preview.render(read(form));
    };
    const words = bareme.criteres.map((critere) => t.own(critere.labels)).join(", ");
    const form = actionForm(
      t,
      t("admin.save"),
      save,
      field(t("admin.bareme.name"), { name: "name", required: true, maxlength: 200, value: bareme.name }),
      rows,
      h("button", { type: "button", class: "button is-small", onclick: another }, t("admin.bareme.add_critere")),
    );
    form.addEventListener("input", () => preview.render(read(form)));
    form.addEventListener("click", () => preview.render(read(form)));
    const details = h(
      "details",
      { class: "more row-details", open: this.#opened.has(bareme.bareme_id) },
      h("summary", { "data-focus": `bareme/${bareme.bareme_id}` }, h("span", { dir: "auto" }, bareme.name), h("span", { class: "field__hint", dir: "auto" }, words)),
      h("div", { class: "bareme-edit" }, preview, form),
      actionButton(t, t("admin.delete"), () => admin.api.delete(path).then(() => admin.reload()), { class: "is-small is-quiet", confirm: t("admin.delete_confirm"), focus: `bareme/${bareme.bareme_id}/delete` }),
    );
    details.addEventListener("toggle", () => {
      if (details.open) preview.render(read(form));
      if (details.open) this.#opened.add(bareme.bareme_id);
      else this.#opened.delete(bareme.bareme_id);
    });
    return details;
  }

  /** @param {Critere} critere @param {boolean} isOpen */
  #critere(critere, isOpen) {
    const { t } = this;
    if (!t) return h("details", {});
    const text = (/** @type {string} */ label, /** @type {string} */ name, /** @type {string} */ value) =>
      field(label, { "data-name": name, value, maxlength: 100 });
    const number = (/** @type {string} */ label, /** @type {string} */ name, /** @type {number} */ value, step = "any") =>
      field(label, { "data-name": name, type: "number", step, value, required: true });
    const remove = () => row.remove();
    const up = () => row.previousElementSibling?.before(row);
    const row = h(
      "details",
      { class: "more critere-edit", open: isOpen },
      h("summary", {}, h("span", { dir: "auto" }, critereWords(critere, t))),
      h("div", { class: "pair" }, text(t("admin.critere.label_fr"), "fr", critere.labels.fr), text(t("admin.critere.label_en"), "en", critere.labels.en)),
      h("div", { class: "quad" },
        number(t("admin.critere.min"), "min", critere.min),
        number(t("admin.critere.max"), "max", critere.max),
        number(t("admin.critere.step"), "step", critere.step),
        number(t("admin.critere.weight"), "weight", critere.weight, "1")),
      h("div", { class: "pair" }, text(t("admin.critere.low_fr"), "low_fr", critere.low.fr), text(t("admin.critere.high_fr"), "high_fr", critere.high.fr)),
      h("div", { class: "pair" }, text(t("admin.critere.low_en"), "low_en", critere.low.en), text(t("admin.critere.high_en"), "high_en", critere.high.en)),
      field(t("admin.critere.key"), { "data-name": "key", value: critere.key, maxlength: 32, required: true, spellcheck: "false", autocapitalize: "none" }, t("admin.critere.key_hint")),
      h("div", { class: "row" },
        h("label", { class: "check row__name" }, h("input", { type: "checkbox", "data-name": "optional", checked: critere.optional }), h("span", {}, t("admin.critere.optional"))),
        h("button", { type: "button", class: "button is-small is-icon is-quiet", title: t("admin.move_up"), onclick: up }, icon("up"), h("span", { class: "sr-only" }, t("admin.move_up"))),
        h("button", { type: "button", class: "button is-small is-icon is-quiet", title: t("admin.critere.remove"), onclick: remove }, icon("close"), h("span", { class: "sr-only" }, t("admin.critere.remove")))),
    );
    return row;
  }
}

/** @param {number} index @returns {Critere} */
function emptyCritere(index) {
  const none = { fr: "", en: "" };
  return { key: `critere${index}`, labels: { ...none }, min: 1, max: 5, step: 1, weight: 1, low: { ...none }, high: { ...none }, optional: true };
}

/** @param {Element} row @returns {Critere} */
function readCritere(row) {
  /** @param {string} name */
  const control = (name) => /** @type {HTMLInputElement} */ (row.querySelector(`[data-name="${name}"]`));
  const text = (/** @type {string} */ name) => control(name).value.trim();
  return {
    key: text("key"),
    labels: { fr: text("fr"), en: text("en") },
    min: Number(text("min")),
    max: Number(text("max")),
    step: Number(text("step")),
    weight: Number(text("weight")),
    low: { fr: text("low_fr"), en: text("low_en") },
    high: { fr: text("high_fr"), en: text("high_en") },
    optional: control("optional").checked,
  };
}

define("bareme-editor", BaremeEditor);
