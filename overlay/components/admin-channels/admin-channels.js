// @ts-check
/** Which channel one drives, and a form for a new one. */
import { actionForm, field, valueOf } from "../../lib/actions.js";
import { define, h, rebuild } from "../../lib/dom.js";

export class AdminChannels extends HTMLElement {
  /** @param {import("../../lib/admin.js").Admin} admin @param {import("../../lib/i18n.js").Texts} t */
  setUp(admin, t) {
    this.admin = admin;
    this.t = t;
    return this;
  }

  render() {
    const { admin, t } = this;
    if (!admin || !t) return;
    const key = JSON.stringify([admin.slug, admin.channels.map(({ slug, title }) => [slug, title])]);
    rebuild(this, key, () => [
      admin.channels.length === 0 ? this.#welcome() : this.#chooser(),
      admin.channels.length === 0
        ? this.#form()
        : h("details", { class: "more" }, h("summary", {}, t("admin.channel.another")), this.#form()),
    ]);
  }

  #welcome() {
    return h("div", {}, h("h1", {}, this.t?.("admin.channel.first") ?? ""), h("p", { class: "lead" }, this.t?.("admin.channel.first_text") ?? ""));
  }

  #chooser() {
    const { admin, t } = this;
    if (!admin || !t) return null;
    const onchange = (/** @type {Event} */ event) => {
      if (event.target instanceof HTMLSelectElement) admin.choose(event.target.value);
    };
    const options = admin.channels.map(({ slug, title }) => h("option", { value: slug, selected: slug === admin.slug }, `${title} (${slug})`));
    return h("label", { class: "field" }, h("span", { class: "field__label" }, t("admin.channel.label")), h("select", { class: "field__input", onchange }, options));
  }

  #form() {
    const { admin, t } = this;
    if (!admin || !t) return null;
    const run = async (/** @type {HTMLFormElement} */ form) => {
      const title = valueOf(form, "title");
      const slug = valueOf(form, "slug") || slugOf(title);
      await admin.api.post("admin/channels", { slug, title });
      await admin.loadChannels();
      await admin.choose(slug);
      admin.onChange();
    };
    return actionForm(
      t,
      t("admin.channel.create"),
      run,
      field(t("admin.channel.title"), { name: "title", required: true, maxlength: 200 }),
      field(t("admin.channel.slug"), { name: "slug", maxlength: 40, autocapitalize: "none", spellcheck: "false" }, t("admin.channel.slug_hint")),
    );
  }
}

/** A name for URLs out of a title. @param {string} title */
function slugOf(title) {
  const plain = title.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  return plain.replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 40);
}

define("admin-channels", AdminChannels);
