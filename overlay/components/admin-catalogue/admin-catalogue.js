// @ts-check
/** The channel's catalogue of jeux: several at once from pasted lines, each one's details, and away with it. */
import { actionButton, actionForm, field, labelled, linesOf, valueOf } from "../../lib/actions.js";
import { define, h } from "../../lib/dom.js";
import { rebuildKeepingFocus } from "../../lib/focus.js";
import { jeuxOf } from "../../lib/live-plan.js";

/** @typedef {import("../../lib/admin.js").Jeu} Jeu */

export class AdminCatalogue extends HTMLElement {
  /** Jeux whose details are open, and stay so when the list changes. @type {Set<number>} */
  #opened = new Set();

  /** @param {import("../../lib/admin.js").Admin} admin @param {import("../../lib/i18n.js").Texts} t */
  setUp(admin, t) {
    this.admin = admin;
    this.t = t;
    this.classList.add("section");
    this.heading = h("h2", { class: "section__title", tabindex: -1 }, t("admin.catalogue"));
    this.list = h("div", { class: "rows is-tight" });
    const run = async (/** @type {HTMLFormElement} */ form) => {
      await jeuxOf(admin, linesOf(valueOf(form, "title")));
      form.reset();
      await admin.reload();
    };
    const lines = h("textarea", { class: "field__input", name: "title", rows: 2, required: true });
    const add = actionForm(t, t("admin.add"), run, labelled(t("admin.catalogue.add"), lines, t("admin.catalogue.add_hint")));
    add.classList.add("is-calm");
    this.replaceChildren(this.heading, this.list, add);
    return this;
  }

  render() {
    const { admin, t, list, heading } = this;
    if (!admin || !t || !list || !heading) return;
    // What somebody is typing is not taken away by what somebody else changes.
    const isEditing = list.contains(document.activeElement) && document.activeElement instanceof HTMLInputElement;
    if (isEditing) return;
    const { jeux } = admin.data;
    rebuildKeepingFocus(list, JSON.stringify([admin.slug, jeux]), () =>
      jeux.length === 0 ? [h("p", { class: "field__hint" }, t("admin.catalogue.none"))] : jeux.map((jeu) => this.#jeu(jeu)), heading);
  }

  /** @param {Jeu} jeu */
  #jeu(jeu) {
    const { admin, t } = this;
    if (!admin || !t) return null;
    const id = jeu.jeu_id;
    const path = admin.path(`/jeux/${id}`);
    const save = async (/** @type {HTMLFormElement} */ form) => {
      const year = Number(valueOf(form, "year"));
      const body = { title: valueOf(form, "title"), platform: valueOf(form, "platform"), genre: valueOf(form, "genre"), year: year || null };
      await admin.api.patch(path, body);
      this.#opened.delete(id);
      this.#leave();
      await admin.reload();
    };
    const remove = () => admin.api.delete(path).then(() => admin.reload());
    const about = [jeu.platform, jeu.genre, jeu.year].filter(Boolean).join(" · ");
    const details = h(
      "details",
      { class: "more row-details", open: this.#opened.has(id) },
      h("summary", { "data-focus": `jeu/${id}` }, h("span", { class: "row__number" }, id), h("span", { dir: "auto" }, jeu.title), about ? h("span", { class: "field__hint", dir: "auto" }, about) : null),
      actionForm(t, t("admin.save"), save,
        field(t("admin.jeu.title"), { name: "title", required: true, maxlength: 200, value: jeu.title }),
        h("div", { class: "pair" },
          field(t("admin.jeu.platform"), { name: "platform", maxlength: 80, value: jeu.platform ?? "" }),
          field(t("admin.jeu.year"), { name: "year", type: "number", min: 1950, max: 2100, value: jeu.year ?? "" })),
        field(t("admin.jeu.genre"), { name: "genre", maxlength: 80, value: jeu.genre ?? "" })),
      actionButton(t, t("admin.delete"), remove, { class: "is-small is-quiet", confirm: t("admin.delete_confirm"), focus: `jeu/${id}/delete` }),
    );
    details.addEventListener("toggle", () => (details.open ? this.#opened.add(id) : this.#opened.delete(id)));
    return details;
  }

  /** Takes the focus off a field, so that what is shown follows the server again. */
  #leave() {
    if (document.activeElement instanceof HTMLElement && this.list?.contains(document.activeElement)) this.heading?.focus({ preventScroll: true });
  }
}

define("admin-catalogue", AdminCatalogue);
