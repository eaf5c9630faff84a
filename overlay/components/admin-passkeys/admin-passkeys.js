// @ts-check
/** The passkeys of whoever is signed in. */
import { actionButton, actionForm, field, problemWords, valueOf } from "../../lib/actions.js";
import { define, h } from "../../lib/dom.js";
import { makePasskey, whyNoPasskeys } from "../../lib/passkeys.js";
import { nameAndHint } from "../../lib/rows.js";

/** @typedef {{passkey_id: string, name: string, created_at_us: number, used_at_us: number|null, party: string}} Passkey */

export class AdminPasskeys extends HTMLElement {
  /**
   * @param {import("../../lib/admin.js").Admin} admin
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {import("../../lib/format.js").Format} format
   */
  setUp(admin, t, format) {
    this.admin = admin;
    this.t = t;
    this.format = format;
    this.classList.add("rows");
    this.list = h("div", {});
    this.said = h("p", { class: "said", role: "status" });
    this.why = whyNoPasskeys(admin.party);
    this.replaceChildren(
      h("p", { class: "field__hint" }, t("admin.passkeys.hint")),
      this.list,
      this.said,
      this.why ? h("p", { class: "notice" }, t(this.why, { host: admin.party })) : this.#form());
    return this;
  }

  /** Asks which there are, and shows them. */
  async load() {
    const { admin, t, list } = this;
    if (!admin || !t || !list) return;
    try {
      /** @type {Passkey[]} */
      const passkeys = await admin.api.get("admin/passkeys");
      if (admin.session) admin.session.has_passkey = passkeys.length > 0;
      // Where there can be none, the page says why.
      const nothing = this.why ? [] : [h("p", { class: "empty" }, t("admin.passkeys.none"))];
      list.replaceChildren(...(passkeys.length === 0 ? nothing : passkeys.map((passkey) => this.#row(passkey))));
    } catch (error) {
      list.replaceChildren(h("p", { class: "problem", role: "alert" }, problemWords(error, t)));
    }
  }

  /** Nothing of it stays on a page that somebody else looks at. */
  clear() {
    this.list?.replaceChildren();
    this.#say("");
  }

  /** @param {string} words */
  #say(words) {
    if (this.said) this.said.textContent = words;
  }

  #form() {
    const { admin, t } = this;
    if (!admin || !t) return h("div");
    const add = async (/** @type {HTMLFormElement} */ form) => {
      const made = await makePasskey(await admin.api.get("admin/passkey-options"));
      const { name } = await admin.api.post("admin/passkeys", { name: valueOf(form, "name"), ...made });
      form.reset();
      this.#say(t("admin.passkeys.added", { name }));
      await this.load();
    };
    return h("details", { class: "more" },
      h("summary", {}, t("admin.passkeys.new")),
      actionForm(t, t("admin.passkeys.add"), add, field(t("admin.passkeys.name"), { name: "name", required: true, maxlength: 80, placeholder: t("admin.passkeys.example") })));
  }

  /** @param {Passkey} passkey */
  #row(passkey) {
    const { admin, t, format } = this;
    if (!admin || !t || !format) return h("div");
    const remove = async () => {
      await admin.api.delete(`admin/passkeys/${passkey.passkey_id}`);
      this.#say(t("admin.passkeys.removed", { name: passkey.name }));
      await this.load();
    };
    const hints = [
      t("admin.since", { date: format.date(passkey.created_at_us) }),
      passkey.used_at_us === null ? t("admin.passkeys.unused") : t("admin.passkeys.used", { date: format.date(passkey.used_at_us) }),
      ...(passkey.party === admin.party ? [] : [t("admin.passkeys.made_at", { host: passkey.party })]),
    ];
    return h("div", { class: "key" },
      h("div", { class: "key__head" },
        nameAndHint(passkey.name, hints.join(" · ")),
        actionButton(t, t("admin.passkeys.remove"), remove, { class: "is-small is-link", confirm: t("admin.passkeys.remove_confirm") })));
  }
}

define("admin-passkeys", AdminPasskeys);
