// @ts-check
/** The door: the first account by the set-up link, or a name and a password. */
import { actionForm, field, valueOf } from "../../lib/actions.js";
import { define, h, rebuild } from "../../lib/dom.js";

/** As short as a password may be. */
const SHORTEST_PASSWORD = 10;

export class AdminSignin extends HTMLElement {
  /**
   * @param {import("../../lib/admin.js").Admin} admin
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {string} setupToken of the link that was opened; empty when there was none
   */
  setUp(admin, t, setupToken) {
    this.admin = admin;
    this.t = t;
    this.setupToken = setupToken;
    return this;
  }

  render() {
    const { admin, t } = this;
    if (!admin || !t) return;
    const kind = admin.needsSetup ? (this.setupToken ? "setup" : "no-link") : "login";
    rebuild(this, kind, () => (kind === "setup" ? this.#setup() : kind === "login" ? this.#login() : [
      h("h1", {}, t("admin.setup.title")),
      h("p", { class: "lead" }, t("admin.setup.no_link")),
    ]));
  }

  #setup() {
    const { admin, t } = this;
    if (!admin || !t) return [];
    const run = async (/** @type {HTMLFormElement} */ form) => {
      const [name, password] = [valueOf(form, "name"), String(new FormData(form).get("password"))];
      await admin.signedIn(await admin.api.post("admin/setup", { token: this.setupToken, name, password }));
    };
    return [
      h("h1", {}, t("admin.setup.title")),
      h("p", { class: "lead" }, t("admin.setup.text")),
      actionForm(t, t("admin.setup.create"), run, this.#name(), this.#password("new-password", t("admin.password_hint", { n: SHORTEST_PASSWORD }))),
    ];
  }

  #login() {
    const { admin, t } = this;
    if (!admin || !t) return [];
    const run = async (/** @type {HTMLFormElement} */ form) => {
      const [name, password] = [valueOf(form, "name"), String(new FormData(form).get("password"))];
      await admin.signedIn(await admin.api.post("admin/login", { name, password }));
    };
    return [
      h("h1", {}, t("admin.login.title")),
      actionForm(t, t("admin.login.enter"), run, this.#name(), this.#password("current-password")),
    ];
  }

  #name() {
    return field(this.t?.("admin.name") ?? "", { name: "name", required: true, autocomplete: "username", maxlength: 80 });
  }

  /** @param {string} kind @param {string} [hint] */
  #password(kind, hint) {
    const minlength = kind === "new-password" ? SHORTEST_PASSWORD : false;
    return field(this.t?.("admin.password") ?? "", { name: "password", type: "password", required: true, autocomplete: kind, minlength }, hint);
  }
}

define("admin-signin", AdminSignin);
