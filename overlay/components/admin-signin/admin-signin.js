// @ts-check
/** The door: a name and a password, and what to do when there is no account yet. */
import { actionForm, field, valueOf } from "../../lib/actions.js";
import { define, h, rebuild } from "../../lib/dom.js";

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
    const run = async (/** @type {HTMLFormElement} */ form) => {
      const [name, password] = [valueOf(form, "name"), String(new FormData(form).get("password"))];
      try {
        await admin.signedIn(await admin.api.post("admin/login", { name, password }));
      } finally {
        const secret = form.elements.namedItem("password");
        if (secret instanceof HTMLInputElement && !admin.session) secret.value = "";
      }
    };
    return [
      h("h1", {}, t("admin.login.title")),
      wasCutOff ? h("p", { class: "notice", role: "status" }, t("admin.login.over")) : null,
      actionForm(t, t("admin.login.enter"), run,
        field(t("admin.name"), { name: "name", required: true, autocomplete: "username", maxlength: 80, autocapitalize: "none", spellcheck: "false" }),
        field(t("admin.password"), { name: "password", type: "password", required: true, autocomplete: "current-password" })),
    ];
  }
}

define("admin-signin", AdminSignin);
