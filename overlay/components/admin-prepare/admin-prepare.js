// @ts-check
/** Prepares a live in one form: its title, its bareme (a preset is saved on the way), its jeux. Drafts are below. */
import { actionButton, actionForm, field, labelled, linesOf, valueOf } from "../../lib/actions.js";
import { define, h, rebuild } from "../../lib/dom.js";
import { rebuildKeepingFocus } from "../../lib/focus.js";
import { baremeChoices, critereWords, jeuxOf, makeLive } from "../../lib/live-plan.js";

export class AdminPrepare extends HTMLElement {
  /** @param {import("../../lib/admin.js").Admin} admin @param {import("../../lib/i18n.js").Texts} t */
  setUp(admin, t) {
    this.admin = admin;
    this.t = t;
    this.classList.add("section");
    this.baremes = h("select", { class: "field__input", name: "bareme", onchange: () => this.#describe() });
    this.about = h("span", { class: "field__hint" });
    this.catalogue = h("fieldset", { class: "checks" });
    this.drafts = h("div", { class: "rows" });
    this.busy = h("p", { class: "notice" }, t("admin.live.busy"));
    const bareme = labelled(t("admin.live.bareme"), this.baremes);
    bareme.append(this.about);
    const open = h("select", { class: "field__input", name: "open" }, Object.entries(OPEN_WORDS).map(([value, words]) => h("option", { value }, t(words))));
    this.form = actionForm(
      t,
      t("admin.live.open"),
      (sent) => this.#create(sent),
      field(t("admin.live.title"), { name: "title", required: true, maxlength: 200 }),
      bareme,
      this.catalogue,
      labelled(t("admin.live.new_jeux"), h("textarea", { class: "field__input", name: "jeux", rows: 3 }), t("admin.live.new_jeux_hint")),
      h("details", { class: "more" }, h("summary", {}, t("admin.live.options")),
        h("div", { class: "pair" },
          field(t("admin.live.minimum"), { name: "minimum_votes", type: "number", min: 1, max: 100000, value: "1" }),
          labelled(t("admin.live.open_jeux"), open)),
        h("label", { class: "check" }, h("input", { type: "checkbox", name: "blind" }), h("span", {}, t("admin.live.blind")))),
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "draft", onchange: () => this.#nameButton() }), h("span", {}, t("admin.live.as_draft"))),
    );
    this.heading = h("h2", { class: "section__title", tabindex: -1 }, t("admin.live.prepare"));
    this.draftsHeading = h("h2", { class: "section__title", tabindex: -1 }, t("admin.live.drafts"));
    this.replaceChildren(this.heading, this.busy, this.form, this.draftsHeading, this.drafts);
    return this;
  }

  render() {
    const { admin, t, baremes, catalogue, drafts, form, busy, draftsHeading } = this;
    if (!admin || !t || !baremes || !catalogue || !drafts || !form || !busy || !draftsHeading) return;
    const { data } = admin;
    const choices = baremeChoices(admin, t);
    const chosen = baremes.value;
    if (rebuild(baremes, JSON.stringify([admin.slug, choices.map(({ value, name }) => [value, name])]), () => choices.map(({ value, name }) => h("option", { value }, name)))) {
      if (choices.some(({ value }) => value === chosen)) baremes.value = chosen;
      this.#describe();
    }
    this.#renderCatalogue(catalogue);
    busy.hidden = admin.openLive === null;
    const draft = form.elements.namedItem("draft");
    if (draft instanceof HTMLInputElement && draft.disabled !== (admin.openLive !== null)) {
      // While a live is on air another one can only be kept for later.
      if (draft.parentElement) draft.parentElement.hidden = admin.openLive !== null;
      draft.disabled = draft.checked = admin.openLive !== null;
      this.#nameButton();
    }
    const waiting = data.lives.filter((live) => live.status === "draft");
    rebuildKeepingFocus(drafts, JSON.stringify([waiting, Boolean(admin.openLive)]), () =>
      waiting.length === 0 ? [h("p", { class: "field__hint" }, t("admin.live.no_drafts"))] : waiting.map((live) => this.#draft(live)), draftsHeading);
  }

  /** Boxes of the catalogue; those that were ticked stay so when somebody else changes it. @param {HTMLFieldSetElement} catalogue */
  #renderCatalogue(catalogue) {
    const { admin, t } = this;
    if (!admin || !t) return;
    const { jeux } = admin.data;
    const ticked = new Set([...catalogue.querySelectorAll("input:checked")].map((box) => /** @type {HTMLInputElement} */ (box).value));
    rebuild(catalogue, JSON.stringify([admin.slug, jeux]), () => [
      h("legend", { class: "field__label" }, t("admin.live.jeux")),
      jeux.length === 0 ? h("p", { class: "field__hint" }, t("admin.live.no_jeux")) : null,
      h("div", { class: "checks__list" }, jeux.map((jeu) =>
        h("label", { class: "check" }, h("input", { type: "checkbox", name: "jeu", value: jeu.jeu_id, checked: ticked.has(String(jeu.jeu_id)) }), h("span", { dir: "auto" }, jeu.title)))),
    ]);
  }

  #describe() {
    const { admin, t, baremes, about } = this;
    if (!admin || !t || !baremes || !about) return;
    const choice = baremeChoices(admin, t).find(({ value }) => value === baremes.value);
    about.textContent = choice?.bareme.criteres.map((critere) => critereWords(critere, t)).join(" · ") ?? "";
  }

  /** The button says what it does. */
  #nameButton() {
    const { form, t } = this;
    const draft = form?.elements.namedItem("draft");
    const words = form?.querySelector("button[type=submit] .button__words");
    if (words && t && draft instanceof HTMLInputElement) words.textContent = t(draft.checked ? "admin.live.keep" : "admin.live.open");
  }

  /** @param {HTMLFormElement} form */
  async #create(form) {
    const { admin, t } = this;
    if (!admin || !t) return;
    const sent = new FormData(form);
    // A box that is off does not send itself, ticked or not.
    const draft = form.elements.namedItem("draft");
    const isDraft = draft instanceof HTMLInputElement && draft.checked;
    try {
      const jeux = [...sent.getAll("jeu").map(Number), ...(await jeuxOf(admin, linesOf(valueOf(form, "jeux"))))];
      const live = await makeLive(admin, t, {
        title: valueOf(form, "title"),
        bareme: valueOf(form, "bareme"),
        jeux: [...new Set(jeux)],
        blind: sent.has("blind"),
        minimum: Number(valueOf(form, "minimum_votes")) || 1,
      });
      const open = valueOf(form, "open");
      form.reset();
      this.#nameButton();
      if (!isDraft) await admin.api.post(`admin/lives/${live.live_id}/open`, { open_jeux: open });
    } finally {
      await admin.reload();
    }
  }

  /** @param {import("../../lib/admin.js").LiveSummary} live */
  #draft(live) {
    const { admin, t } = this;
    if (!admin || !t) return null;
    const then = (/** @type {Promise<unknown>} */ done) => done.then(() => admin.reload());
    const { live_id } = live;
    return h(
      "div",
      { class: "row" },
      h("span", { class: "row__name" }, h("span", { dir: "auto" }, live.title), h("span", { class: "field__hint" }, t.n("admin.live.count", live.jeux.length))),
      actionButton(t, t("admin.live.open"), () => then(admin.api.post(`admin/lives/${live_id}/open`)), { class: "is-small", disabled: Boolean(admin.openLive), focus: `${live_id}/open` }),
      actionButton(t, t("admin.delete"), () => then(admin.api.delete(`admin/lives/${live_id}`)), { class: "is-small is-quiet", confirm: t("admin.delete_confirm"), focus: `${live_id}/delete` }),
    );
  }
}

/** @type {Record<string, string>} */
const OPEN_WORDS = { first: "admin.live.open_first", all: "admin.live.open_all", none: "admin.live.open_none" };

define("admin-prepare", AdminPrepare);
