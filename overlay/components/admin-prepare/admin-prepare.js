// @ts-check
/**
 * Prepares a live in one form: its title, its bareme (a preset is saved on the way), its jeux (new ones are typed, one
 * per line). Drafts and the catalogue are below.
 */
/** @import { LiveState } from "../../lib/types.js" */
import { actionButton, actionForm, field, valueOf } from "../../lib/actions.js";
import { define, h, rebuild } from "../../lib/dom.js";

/** What marks a preset among the baremes to choose from. */
const PRESET = "preset:";

export class AdminPrepare extends HTMLElement {
  /** @param {import("../../lib/admin.js").Admin} admin @param {import("../../lib/i18n.js").Texts} t */
  setUp(admin, t) {
    this.admin = admin;
    this.t = t;
    this.baremes = h("select", { class: "field__input", name: "bareme" });
    this.catalogue = h("fieldset", { class: "checks" });
    this.drafts = h("div", { class: "rows" });
    this.jeux = h("div", { class: "rows" });
    const form = actionForm(
      t,
      t("admin.live.open"),
      (sent) => this.#create(sent),
      field(t("admin.live.title"), { name: "title", required: true, maxlength: 200 }),
      h("label", { class: "field" }, h("span", { class: "field__label" }, t("admin.live.bareme")), this.baremes),
      this.catalogue,
      h("label", { class: "field" }, h("span", { class: "field__label" }, t("admin.live.new_jeux")), h("textarea", { class: "field__input", name: "jeux", rows: 4 }), h("span", { class: "field__hint" }, t("admin.live.new_jeux_hint"))),
      h("div", { class: "pair" },
        field(t("admin.live.minimum"), { name: "minimum", type: "number", min: 1, max: 100000, value: "1" }),
        h("label", { class: "field" }, h("span", { class: "field__label" }, t("admin.live.open_jeux")), h("select", { class: "field__input", name: "open" }, ["first", "all", "none"].map((value) => h("option", { value }, t(OPEN_WORDS[value])))))),
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "blind" }), h("span", {}, t("admin.live.blind"))),
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "draft" }), h("span", {}, t("admin.live.as_draft"))),
    );
    this.replaceChildren(
      h("section", { class: "section" }, h("h2", { class: "section__title" }, t("admin.live.prepare")), form),
      h("section", { class: "section" }, h("h2", { class: "section__title" }, t("admin.live.drafts")), this.drafts),
      h("section", { class: "section" }, h("h2", { class: "section__title" }, t("admin.catalogue")), this.jeux),
    );
    return this;
  }

  render() {
    const { admin, t, baremes, catalogue, drafts, jeux } = this;
    if (!admin || !t || !baremes || !catalogue || !drafts || !jeux) return;
    const { data } = admin;
    rebuild(baremes, JSON.stringify([data.baremes.map((b) => [b.bareme_id, b.name]), admin.presets.length]), () => [
      ...data.baremes.map((bareme) => h("option", { value: bareme.bareme_id }, bareme.name)),
      ...admin.presets.map((preset, index) => h("option", { value: `${PRESET}${index}` }, t("admin.live.preset", { name: preset.name }))),
    ]);
    rebuild(catalogue, JSON.stringify(data.jeux), () => [
      h("legend", { class: "field__label" }, t("admin.live.jeux")),
      data.jeux.length === 0 ? h("p", { class: "field__hint" }, t("admin.live.no_jeux")) : null,
      ...data.jeux.map((jeu) => h("label", { class: "check" }, h("input", { type: "checkbox", name: "jeu", value: jeu.jeu_id }), h("span", { dir: "auto" }, jeu.title))),
    ]);
    const waiting = data.lives.filter((live) => live.status === "draft");
    rebuild(drafts, JSON.stringify([waiting, Boolean(admin.openLive)]), () =>
      waiting.length === 0 ? [h("p", { class: "field__hint" }, t("admin.live.no_drafts"))] : waiting.map((live) => this.#draft(live)),
    );
    rebuild(jeux, JSON.stringify(data.jeux), () => [...data.jeux.map((jeu) => this.#jeu(jeu)), this.#newJeu()]);
  }

  /** @param {HTMLFormElement} form */
  async #create(form) {
    const { admin } = this;
    if (!admin) return;
    const chosen = new FormData(form).getAll("jeu").map(Number);
    const typed = valueOf(form, "jeux").split("\n").map((line) => line.trim()).filter(Boolean);
    for (const title of typed) {
      const same = admin.data.jeux.find((jeu) => jeu.title === title);
      chosen.push((same ?? (await admin.api.post(admin.path("/jeux"), { title }))).jeu_id);
    }
    const bareme_id = await this.#bareme(valueOf(form, "bareme"));
    /** @type {LiveState} */
    const live = await admin.api.post(admin.path("/lives"), {
      title: valueOf(form, "title"),
      bareme_id,
      jeux: [...new Set(chosen)],
      blind: new FormData(form).has("blind"),
      minimum_votes: Number(valueOf(form, "minimum")) || 1,
    });
    const draft = new FormData(form).has("draft");
    const open = valueOf(form, "open");
    try {
      if (!draft) await admin.api.post(`admin/lives/${live.live_id}/open`, { open_jeux: open });
      form.reset();
    } finally {
      await admin.reload();
    }
  }

  /** The id of the chosen bareme; a preset becomes the channel's own first. @param {string} value */
  async #bareme(value) {
    const { admin } = this;
    if (!admin || !value.startsWith(PRESET)) return value;
    const preset = admin.presets[Number(value.slice(PRESET.length))];
    const same = admin.data.baremes.find((bareme) => bareme.name === preset.name);
    return (same ?? (await admin.api.post(admin.path("/baremes"), preset))).bareme_id;
  }

  /** @param {{live_id: string, title: string}} live */
  #draft(live) {
    const { admin, t } = this;
    if (!admin || !t) return null;
    const then = (/** @type {Promise<unknown>} */ done) => done.then(() => admin.reload());
    return h(
      "div",
      { class: "row" },
      h("span", { class: "row__name", dir: "auto" }, live.title),
      actionButton(t, t("admin.live.open"), () => then(admin.api.post(`admin/lives/${live.live_id}/open`)), { class: "is-small", disabled: Boolean(admin.openLive) }),
      actionButton(t, t("admin.delete"), () => then(admin.api.delete(`admin/lives/${live.live_id}`)), { class: "is-small is-quiet", confirm: t("admin.delete_confirm") }),
    );
  }

  /** @param {import("../../lib/admin.js").Jeu} jeu */
  #jeu(jeu) {
    const { admin, t } = this;
    if (!admin || !t) return null;
    const path = admin.path(`/jeux/${jeu.jeu_id}`);
    const save = async (/** @type {HTMLFormElement} */ form) => {
      const year = Number(valueOf(form, "year"));
      const body = { title: valueOf(form, "title"), platform: valueOf(form, "platform"), genre: valueOf(form, "genre"), year: year || null };
      await admin.api.patch(path, body);
      await admin.reload();
    };
    const remove = () => admin.api.delete(path).then(() => admin.reload());
    const details = [jeu.platform, jeu.genre, jeu.year].filter(Boolean).join(" · ");
    return h(
      "details",
      { class: "more row-details" },
      h("summary", {}, h("span", { class: "row__number" }, jeu.jeu_id), h("span", { dir: "auto" }, jeu.title), details ? h("span", { class: "field__hint" }, details) : null),
      actionForm(t, t("admin.save"), save, ...this.#jeuFields(jeu)),
      actionButton(t, t("admin.delete"), remove, { class: "is-small is-quiet", confirm: t("admin.delete_confirm") }),
    );
  }

  #newJeu() {
    const { admin, t } = this;
    if (!admin || !t) return null;
    const run = async (/** @type {HTMLFormElement} */ form) => {
      await admin.api.post(admin.path("/jeux"), { title: valueOf(form, "title") });
      form.reset();
      await admin.reload();
    };
    const form = actionForm(t, t("admin.add"), run, field(t("admin.jeu.new"), { name: "title", required: true, maxlength: 200 }));
    form.classList.add("is-row");
    return form;
  }

  /** @param {import("../../lib/admin.js").Jeu} jeu */
  #jeuFields(jeu) {
    const { t } = this;
    if (!t) return [];
    return [
      field(t("admin.jeu.title"), { name: "title", required: true, maxlength: 200, value: jeu.title }),
      h("div", { class: "pair" },
        field(t("admin.jeu.platform"), { name: "platform", maxlength: 80, value: jeu.platform ?? "" }),
        field(t("admin.jeu.year"), { name: "year", type: "number", min: 1950, max: 2100, value: jeu.year ?? "" })),
      field(t("admin.jeu.genre"), { name: "genre", maxlength: 80, value: jeu.genre ?? "" }),
    ];
  }
}

/** @type {Record<string, string>} */
const OPEN_WORDS = { first: "admin.live.open_first", all: "admin.live.open_all", none: "admin.live.open_none" };

define("admin-prepare", AdminPrepare);
