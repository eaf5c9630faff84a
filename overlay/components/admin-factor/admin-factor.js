// @ts-check
/** The second factor of whoever is signed in: an app that shows codes, and codes for when it is gone. */
import { actionButton, actionForm, field, problemWords, valueOf } from "../../lib/actions.js";
import { copyLine } from "../../lib/copy.js";
import { define, h } from "../../lib/dom.js";
import { download } from "../../lib/download.js";

/** @typedef {{since_us: number|null, recovery_left: number}} Factor */

export class AdminFactor extends HTMLElement {
  /** The picture of the secret, for as long as it is shown. */
  #picture = "";

  /**
   * @param {import("../../lib/admin.js").Admin} admin
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {import("../../lib/format.js").Format} format
   */
  setUp(admin, t, format) {
    this.admin = admin;
    this.t = t;
    this.format = format;
    this.classList.add("factor");
    return this;
  }

  /** Asks whether it is on, and shows that. */
  async load() {
    const { admin, t } = this;
    if (!admin || !t) return;
    try {
      const factor = await admin.api.get("admin/second-factor");
      if (admin.session) admin.session.has_second_factor = factor.since_us !== null;
      this.#show(...this.#state(factor));
    } catch (error) {
      this.#show(h("p", { class: "problem", role: "alert" }, problemWords(error, t)));
    }
  }

  /** Nothing of it stays on a page that somebody else looks at. */
  clear() {
    this.#show();
  }

  /** @param {...(Node|null)} nodes */
  #show(...nodes) {
    URL.revokeObjectURL(this.#picture);
    this.#picture = "";
    this.replaceChildren(...nodes.filter((node) => node !== null));
  }

  /** @param {Factor} factor */
  #state(factor) {
    const { admin, t, format } = this;
    if (!admin || !t || !format) return [];
    if (factor.since_us === null) {
      return [
        h("p", { class: "field__hint" }, t("admin.factor.off")),
        actionButton(t, t("admin.factor.begin"), () => this.#begin(), { class: "is-small" }),
      ];
    }
    const renew = async () => this.#codes((await admin.api.post("admin/second-factor/recovery")).recovery);
    const end = async () => {
      await admin.api.delete("admin/second-factor");
      await this.load();
    };
    return [
      h("p", { class: "field__hint" }, t("admin.factor.on", { date: format.date(factor.since_us), n: factor.recovery_left })),
      h("div", { class: "chips" },
        actionButton(t, t("admin.factor.renew"), renew, { class: "is-small", confirm: t("admin.factor.renew_confirm") }),
        actionButton(t, t("admin.factor.end"), end, { class: "is-small is-link", confirm: t("admin.factor.end_confirm") })),
    ];
  }

  async #begin() {
    const { admin, t } = this;
    if (!admin || !t) return;
    const begun = await admin.api.post("admin/second-factor");
    const finish = async (/** @type {HTMLFormElement} */ form) => {
      const { recovery } = await admin.api.put("admin/second-factor", { code: valueOf(form, "code") });
      if (admin.session) admin.session.has_second_factor = true;
      this.#codes(recovery);
    };
    const picture = URL.createObjectURL(new Blob([begun.qr], { type: "image/svg+xml" }));
    const code = field(t("admin.factor.code"), { name: "code", required: true, autocomplete: "one-time-code", inputmode: "numeric", maxlength: 16 });
    this.#show(
      h("p", { class: "field__hint" }, t("admin.factor.scan")),
      h("img", { class: "factor__qr", src: picture, alt: t("admin.factor.qr"), width: 200, height: 200 }),
      copyLine(t("admin.factor.secret"), begun.secret, true, t),
      actionForm(t, t("admin.factor.finish"), finish, code),
      actionButton(t, t("admin.factor.leave"), () => this.load(), { class: "is-small is-link" }));
    this.#picture = picture;
    code.querySelector("input")?.focus();
  }

  /** @param {string[]} codes */
  #codes(codes) {
    const { t } = this;
    if (!t) return;
    const keep = async () => download(new Blob([`${codes.join("\n")}\n`], { type: "text/plain" }), "bareme-recovery.txt");
    this.#show(
      h("p", { class: "notice", role: "status" }, t("admin.factor.keep")),
      h("ul", { class: "factor__codes" }, codes.map((code) => h("li", {}, h("code", {}, code)))),
      h("div", { class: "chips" },
        actionButton(t, t("admin.factor.save"), keep, { class: "is-small" }),
        actionButton(t, t("admin.factor.kept"), () => this.load(), { class: "is-small is-link" })));
  }
}

define("admin-factor", AdminFactor);
