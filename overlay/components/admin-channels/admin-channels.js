// @ts-check
/** The channel's own settings, and another channel. */
import { actionForm, field, valueOf } from "../../lib/actions.js";
import { define, h, rebuild } from "../../lib/dom.js";
import { slugOf } from "../../lib/slug.js";

/** As long as a closing may be announced ahead. */
const LONGEST_DELAY_S = 120;

export class AdminChannels extends HTMLElement {
  /** @param {import("../../lib/admin.js").Admin} admin @param {import("../../lib/i18n.js").Texts} t */
  setUp(admin, t) {
    this.admin = admin;
    this.t = t;
    this.classList.add("section");
    this.settings = h("div", {});
    const run = async (/** @type {HTMLFormElement} */ form) => {
      const title = valueOf(form, "title");
      const slug = valueOf(form, "slug") || slugOf(title);
      await admin.api.post("admin/channels", { slug, title });
      form.reset();
      await admin.loadChannels();
      await admin.choose(slug);
    };
    const another = actionForm(t, t("admin.channel.create"), run,
      field(t("admin.channel.title"), { name: "title", required: true, maxlength: 200 }),
      field(t("admin.channel.slug"), { name: "slug", maxlength: 40, autocapitalize: "none", spellcheck: "false" }, t("admin.channel.slug_hint")));
    another.classList.add("is-calm");
    this.replaceChildren(h("h2", { class: "section__title" }, t("admin.channel.settings")), this.settings, h("details", { class: "more row-details" }, h("summary", {}, t("admin.channel.another")), another));
    return this;
  }

  render() {
    const { admin, t, settings } = this;
    const channel = admin?.channel;
    if (!admin || !t || !settings || !channel) return;
    if (settings.contains(document.activeElement) && document.activeElement instanceof HTMLInputElement) return;
    rebuild(settings, JSON.stringify([channel.slug, channel.title, channel.close_delay_ms]), () => {
      const save = async (/** @type {HTMLFormElement} */ form) => {
        await admin.api.patch(admin.path(), { title: valueOf(form, "title"), close_delay_ms: Math.round(Number(valueOf(form, "close_delay_ms")) * 1000) });
        await admin.loadChannels();
        saved.textContent = t("admin.saved");
      };
      const saved = h("p", { class: "field__hint", role: "status" });
      const form = actionForm(t, t("admin.save"), save,
        field(t("admin.channel.title"), { name: "title", required: true, maxlength: 200, value: channel.title }),
        field(t("admin.channel.delay"), { name: "close_delay_ms", type: "number", min: 0, max: LONGEST_DELAY_S, step: "any", required: true, value: channel.close_delay_ms / 1000 }, t("admin.channel.delay_hint")));
      form.classList.add("is-calm");
      form.append(saved);
      return [form];
    });
  }
}

define("admin-channels", AdminChannels);
