// @ts-check
/** The door: a name and a password, or a passkey, and what to do when there is no account yet. */
import { actionButton, actionForm, field, valueOf } from "../../lib/actions.js";
import { ApiError } from "../../lib/api.js";
import { define, h, rebuild } from "../../lib/dom.js";
import { usePasskey, whyNoPasskeys } from "../../lib/passkeys.js";

export class AdminSignin extends HTMLElement {
  /** @param {import("../../lib/admin.js").Admin} admin @param {import("../../lib/i18n.js").Texts} t */
  setUp(admin, t) {
    this.admin = admin;
    this.t = t;
    this.classList.add("door");
    return this;
  }

  render() {
    const { admin, t } = this;
    if (!admin || !t) return;
    const kind = admin.needsSetup ? "no-link" : admin.wasCutOff ? "again" : "login";
    rebuild(this, kind, () => (kind === "no-link" ? this.#noLink() : this.#login(kind === "again")));
  }

  #noLink() {
    const { t } = this;
    if (!t) return [];
    const look = h("button", { type: "button", class: "button is-main", onclick: () => location.reload() }, t("admin.setup.again"));
    return [h("h1", {}, t("admin.setup.title")), h("p", { class: "lead" }, t("admin.setup.no_link")), look];
  }

  /** @param {boolean} wasCutOff */
  #login(wasCutOff) {
    const { admin, t } = this;
    if (!admin || !t) return [];
    const code = field(t("admin.login.code"), { name: "code", autocomplete: "one-time-code", maxlength: 64 }, t("admin.login.code_hint"));
    code.hidden = true;
    const run = async (/** @type {HTMLFormElement} */ form) => {
      const [name, password, typed] = [valueOf(form, "name"), String(new FormData(form).get("password")), valueOf(form, "code")];
      try {
        await admin.signedIn(await admin.api.post("admin/login", { name, password, ...(typed && { code: typed }) }));
      } catch (error) {
        if (!(error instanceof ApiError) || error.code !== "code_required") throw error;
        code.hidden = false;
        code.querySelector("input")?.focus();
      } finally {
        const secret = form.elements.namedItem("password");
        // Whoever is asked for the code has given the right password, and need not type it again.
        if (secret instanceof HTMLInputElement && !admin.session && code.hidden) secret.value = "";
      }
    };
    const byPasskey = async () => admin.signedIn(await admin.api.post("admin/login/passkey", await usePasskey(await admin.api.get("admin/login/passkey"))));
    return [
      h("h1", {}, t("admin.login.title")),
      wasCutOff ? h("p", { class: "notice", role: "status" }, t("admin.login.over")) : null,
      actionForm(t, t("admin.login.enter"), run,
        field(t("admin.name"), { name: "name", required: true, autocomplete: "username", maxlength: 80, autocapitalize: "none", spellcheck: "false" }),
        field(t("admin.password"), { name: "password", type: "password", required: true, autocomplete: "current-password" }),
        code),
      whyNoPasskeys(admin.party) ? null : actionButton(t, t("admin.login.passkey"), byPasskey, { class: "door__passkey" }),
    ];
  }
}

define("admin-signin", AdminSignin);
