// @ts-check
/** Who and what may act: this session, and API tokens for bots and decks. */
/** @import { Token } from "../../lib/admin.js" */
import { actionButton, actionForm, field, valueOf } from "../../lib/actions.js";
import { copyLine } from "../../lib/copy.js";
import { define, h, rebuild } from "../../lib/dom.js";

export class AdminAccess extends HTMLElement {
  /** @type {Token[]} */
  #tokens = [];

  /**
   * @param {import("../../lib/admin.js").Admin} admin
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {import("../../lib/format.js").Format} format
   */
  setUp(admin, t, format) {
    this.admin = admin;
    this.t = t;
    this.format = format;
    this.classList.add("section");
    this.fresh = h("div", { class: "rows" });
    this.list = h("div", { class: "rows" });
    this.who = h("p", { class: "field__hint" });
    const run = async (/** @type {HTMLFormElement} */ form) => {
      const made = await admin.api.post("admin/tokens", { name: valueOf(form, "name"), role: valueOf(form, "role") });
      this.fresh?.replaceChildren(copyLine(made.name, made.token, true, t), h("p", { class: "field__hint" }, t("admin.access.once")));
      form.reset();
      await this.load();
    };
    const role = h("select", { class: "field__input", name: "role" }, h("option", { value: "moderator" }, t("admin.access.moderator")), h("option", { value: "admin" }, t("admin.access.admin")));
    this.replaceChildren(
      h("h2", { class: "section__title" }, t("admin.access.session")),
      this.who,
      actionButton(t, t("admin.sign_out"), () => admin.signOut()),
      h("h2", { class: "section__title" }, t("admin.access.tokens")),
      this.fresh,
      actionForm(t, t("admin.access.make"), run, field(t("admin.access.name"), { name: "name", required: true, maxlength: 80 }), h("label", { class: "field" }, h("span", { class: "field__label" }, t("admin.access.role")), role)),
      this.list,
    );
    return this;
  }

  /** Reads the tokens: when this tab opens, and after a change. */
  async load() {
    if (!this.admin) return;
    this.#tokens = await this.admin.api.get("admin/tokens").catch(() => []);
    this.render();
  }

  render() {
    const { admin, t, format, list, who } = this;
    if (!admin || !t || !format || !list || !who) return;
    who.textContent = admin.session ? t("admin.access.signed_in", { name: admin.session.name, role: admin.session.role }) : "";
    rebuild(list, JSON.stringify(this.#tokens), () =>
      this.#tokens.map((token) => {
        const run = () => admin.api.delete(`admin/tokens/${token.token_id}`).then(() => this.load());
        return h(
          "div",
          { class: "row" },
          h("span", { class: "row__name", dir: "auto" }, token.name, h("span", { class: "field__hint" }, `${token.role} · ${t("admin.since", { date: format.date(token.created_at_us) })}`)),
          actionButton(t, t("admin.revoke"), run, { class: "is-small is-quiet", confirm: t("admin.revoke_confirm") }),
        );
      }),
    );
  }
}

define("admin-access", AdminAccess);
