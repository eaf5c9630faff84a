// @ts-check
/** Addresses to give away: the viewer page, and overlays with their keys, which are shown once and masked. */
import { actionButton, actionForm, field, valueOf } from "../../lib/actions.js";
import { copyLine } from "../../lib/copy.js";
import { define, h, rebuild } from "../../lib/dom.js";

export class AdminLinks extends HTMLElement {
  /**
   * @param {import("../../lib/admin.js").Admin} admin
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {import("../../lib/format.js").Format} format
   */
  setUp(admin, t, format) {
    this.admin = admin;
    this.t = t;
    this.format = format;
    this.viewer = h("div", { class: "rows" });
    this.fresh = h("div", { class: "rows" });
    this.keys = h("div", { class: "rows" });
    this.classList.add("section");
    const run = async (/** @type {HTMLFormElement} */ form) => {
      const made = await admin.api.post(admin.path("/overlay-keys"), { name: valueOf(form, "name") || "OBS" });
      this.fresh?.replaceChildren(copyLine(t("admin.links.overlay"), made.url, true, t), h("p", { class: "field__hint" }, t("admin.links.once")));
      form.reset();
      await admin.reload();
    };
    const make = actionForm(t, t("admin.links.make"), run, field(t("admin.links.key_name"), { name: "name", maxlength: 80, placeholder: "OBS" }));
    make.classList.add("is-row");
    this.replaceChildren(
      h("h2", { class: "section__title" }, t("admin.links.viewer_title")),
      this.viewer,
      h("h2", { class: "section__title" }, t("admin.links.overlay_title")),
      this.fresh,
      make,
      this.keys,
    );
    return this;
  }

  render() {
    const { admin, t, format, viewer, keys, fresh } = this;
    const channel = admin?.channel;
    if (!admin || !t || !format || !viewer || !keys || !channel) return;
    if (rebuild(viewer, channel.viewer_url, () => [copyLine(t("admin.links.viewer"), channel.viewer_url, false, t)])) fresh?.replaceChildren();
    rebuild(keys, JSON.stringify([admin.slug, admin.data.keys]), () =>
      admin.data.keys.map((key) => {
        const run = () => admin.api.delete(admin.path(`/overlay-keys/${key.key_id}`)).then(() => admin.reload());
        return h(
          "div",
          { class: "row" },
          h("span", { class: "row__name", dir: "auto" }, key.name, h("span", { class: "field__hint" }, t("admin.since", { date: format.date(key.created_at_us) }))),
          actionButton(t, t("admin.revoke"), run, { class: "is-small is-quiet", confirm: t("admin.revoke_confirm") }),
        );
      }),
    );
  }
}

define("admin-links", AdminLinks);
