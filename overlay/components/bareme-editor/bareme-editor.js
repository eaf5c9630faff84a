// @ts-check
/** The channel's baremes: from a preset, then every critere editable. A live keeps a frozen copy, so editing is safe. */
/** @import { Bareme, Critere } from "../../lib/types.js" */
import { actionButton, actionForm, field, valueOf } from "../../lib/actions.js";
import { define, h, icon, rebuild } from "../../lib/dom.js";

const MOST_CRITERES = 12;

export class BaremeEditor extends HTMLElement {
  /** @param {import("../../lib/admin.js").Admin} admin @param {import("../../lib/i18n.js").Texts} t */
  setUp(admin, t) {
    this.admin = admin;
    this.t = t;
    this.list = h("div", { class: "rows" });
    this.add = h("div", { class: "chips" });
    this.replaceChildren(h("h2", { class: "section__title" }, t("admin.baremes")), this.list, this.add);
    this.classList.add("section");
    return this;
  }

  render() {
    const { admin, t, list, add } = this;
    if (!admin || !t || !list || !add) return;
    rebuild(list, JSON.stringify(admin.data.baremes), () => admin.data.baremes.map((bareme) => this.#bareme(bareme)));
    rebuild(add, JSON.stringify([admin.slug, admin.presets]), () =>
      admin.presets.map((preset) => {
        const run = () => admin.api.post(admin.path("/baremes"), preset).then(() => admin.reload());
        return actionButton(t, `+ ${preset.name}`, run, { class: "is-small" });
      }),
    );
  }

  /** @param {import("../../lib/admin.js").SavedBareme} bareme */
  #bareme(bareme) {
    const { admin, t } = this;
    if (!admin || !t) return null;
    const path = admin.path(`/baremes/${bareme.bareme_id}`);
    const rows = h("div", { class: "criteres-edit" }, bareme.criteres.map((critere) => this.#critere(critere)));
    const save = async (/** @type {HTMLFormElement} */ form) => {
      /** @type {Bareme} */
      const body = { name: valueOf(form, "name"), criteres: [...rows.children].map(readCritere) };
      if (bareme.scale) body.scale = bareme.scale;
      await admin.api.put(path, body);
      await admin.reload();
    };
    const another = () => {
      if (rows.children.length < MOST_CRITERES) rows.append(this.#critere(emptyCritere(rows.children.length + 1)));
    };
    const words = bareme.criteres.map((critere) => t.own(critere.labels)).join(", ");
    return h(
      "details",
      { class: "more row-details" },
      h("summary", {}, h("span", { dir: "auto" }, bareme.name), h("span", { class: "field__hint", dir: "auto" }, words)),
      actionForm(
        t,
        t("admin.save"),
        save,
        field(t("admin.bareme.name"), { name: "name", required: true, maxlength: 200, value: bareme.name }),
        rows,
        h("button", { type: "button", class: "button is-small", onclick: another }, t("admin.bareme.add_critere")),
      ),
      actionButton(t, t("admin.delete"), () => admin.api.delete(path).then(() => admin.reload()), { class: "is-small is-quiet", confirm: t("admin.delete_confirm") }),
    );
  }

  /** @param {Critere} critere */
  #critere(critere) {
    const { t } = this;
    if (!t) return h("fieldset", {});
    const text = (/** @type {string} */ label, /** @type {string} */ name, /** @type {string} */ value) =>
      field(label, { "data-name": name, value, maxlength: 100 });
    const number = (/** @type {string} */ label, /** @type {string} */ name, /** @type {number} */ value, step = "any") =>
      field(label, { "data-name": name, type: "number", step, value, required: true });
    const remove = () => row.remove();
    const row = h(
      "fieldset",
      { class: "critere-edit" },
      h("legend", { class: "field__label" }, t.own(critere.labels) || critere.key),
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
