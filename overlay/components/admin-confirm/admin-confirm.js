// @ts-check
/** Asks for the password again, or a passkey, over the page, when the server wants to know who is still there. */
import { actionButton, actionForm, field, valueOf } from "../../lib/actions.js";
import { define, h } from "../../lib/dom.js";
import { usePasskey, whyNoPasskeys } from "../../lib/passkeys.js";

export class AdminConfirm extends HTMLElement {
  /** @type {Promise<boolean>|null} */
  #asking = null;

  /** @param {import("../../lib/admin.js").Admin} admin @param {import("../../lib/i18n.js").Texts} t */
  setUp(admin, t) {
    this.admin = admin;
    this.t = t;
    admin.api.onConfirm = () => this.#ask();
    return this;
  }

  /** Whether the password was given. Several calls that need it at once ask once. */
  #ask() {
    this.#asking ??= this.#open().finally(() => (this.#asking = null));
    return this.#asking;
  }

  /** @returns {Promise<boolean>} */
  #open() {
    const { admin, t } = this;
    if (!admin?.session || !t) return Promise.resolve(false);
    const dialog = h("dialog", { class: "confirm", "aria-labelledby": "confirm-title" });
    const run = async (/** @type {HTMLFormElement} */ form) => {
      const code = valueOf(form, "code");
      await admin.api.post("admin/confirm", { password: String(new FormData(form).get("password")), ...(code && { code }) });
      dialog.close("given");
    };
    const code = admin.session.has_second_factor
      ? field(t("admin.login.code"), { name: "code", required: true, autocomplete: "one-time-code", maxlength: 64 }, t("admin.login.code_hint"))
      : null;
    const byPasskey = async () => {
      await admin.api.post("admin/confirm/passkey", await usePasskey(await admin.api.get("admin/confirm/passkey")));
      dialog.close("given");
    };
    const has = admin.session.has_passkey && whyNoPasskeys(admin.party) === "";
    dialog.append(
      h("div", { class: "confirm__top" },
        h("h2", { id: "confirm-title" }, t("admin.confirm.title")),
        h("button", { type: "button", class: "button is-small", onclick: () => dialog.close() }, t("admin.confirm.leave"))),
      h("p", { class: "field__hint confirm__why" }, t("admin.confirm.why")),
      actionForm(t, t("admin.confirm.go"), run,
        field(t("admin.password"), { name: "password", type: "password", required: true, autocomplete: "current-password", maxlength: 256 }),
        code),
      ...(has ? [actionButton(t, t("admin.confirm.passkey"), byPasskey, { class: "confirm__passkey" })] : []));
    this.replaceChildren(dialog);
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => {
        resolve(dialog.returnValue === "given");
        // With what was typed.
        dialog.remove();
      });
      dialog.showModal();
    });
  }
}

define("admin-confirm", AdminConfirm);
