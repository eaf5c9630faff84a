// @ts-check
/**
 * The first run: account, channel and first live on one page and with one button. Each part that is done folds away, so
 * that a refusal of a later one loses nothing.
 */
import { actionForm, field, labelled, linesOf, perform, valueOf } from "../../lib/actions.js";
import { ApiError } from "../../lib/api.js";
import { define, h, rebuild, setText } from "../../lib/dom.js";
import { baremeChoices, critereWords, jeuxOf, makeLive } from "../../lib/live-plan.js";
import { slugOf } from "../../lib/slug.js";

/** As short as a password may be. */
const SHORTEST_PASSWORD = 10;

export class AdminStart extends HTMLElement {
  /**
   * @param {import("../../lib/admin.js").Admin} admin
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {string} setupToken of the link that was opened; empty when there was none
   */
  setUp(admin, t, setupToken) {
    this.admin = admin;
    this.t = t;
    this.setupToken = setupToken;
    this.classList.add("door");
    return this;
  }

  /** Whether this is what people see now. */
  get isWanted() {
    const { admin } = this;
    if (!admin) return false;
    if (!admin.session) return admin.needsSetup && this.setupToken !== "";
    return admin.isStarting || (admin.isAdmin && admin.channels.length === 0);
  }

  render() {
    const { admin, t } = this;
    if (!admin || !t) return;
    rebuild(this, String(admin.presets.length), () => this.#form());
    const { account, channel } = this;
    if (account) account.hidden = account.disabled = admin.session !== null;
    if (channel) channel.hidden = channel.disabled = admin.session !== null && admin.channels.length > 0;
  }

  #form() {
    const { admin, t } = this;
    if (!admin || !t) return [];
    const address = h("span", {});
    const slug = h("input", { class: "field__input", name: "slug", maxlength: 40, autocapitalize: "none", spellcheck: "false", autocomplete: "off" });
    const show = () => setText(address, `${location.host}${admin.base}/${slug.value || slugOf(valueOf(form, "channel")) || "…"}`);
    const choices = baremeChoices(admin, t);
    const about = h("span", { class: "field__hint" });
    const bareme = h("select", { class: "field__input", name: "bareme" }, choices.map(({ value, name }) => h("option", { value }, name)));
    const describe = () => setText(about, choices.find(({ value }) => value === bareme.value)?.bareme.criteres.map((critere) => critereWords(critere, t)).join(" · ") ?? "");
    bareme.addEventListener("change", describe);
    describe();
    const chosen = labelled(t("admin.live.bareme"), bareme);
    chosen.append(about);
    this.account = step(t("admin.start.account"),
      field(t("admin.name"), { name: "name", required: true, autocomplete: "username", maxlength: 64, autocapitalize: "none", spellcheck: "false" }),
      field(t("admin.password"), { name: "password", type: "password", required: true, autocomplete: "new-password", minlength: SHORTEST_PASSWORD }, t("admin.password_hint", { n: SHORTEST_PASSWORD })));
    this.channel = step(t("admin.start.channel"),
      field(t("admin.channel.title"), { name: "channel", required: true, maxlength: 200, oninput: () => show() }),
      h("details", { class: "more" }, h("summary", {}, h("span", { class: "field__hint" }, t("admin.start.address")), h("code", { class: "start__address" }, address)),
        labelled(t("admin.channel.slug"), slug, t("admin.channel.slug_hint"))));
    slug.addEventListener("input", show);
    const live = step(t("admin.start.live"),
      labelled(t("admin.start.jeux"), h("textarea", { class: "field__input", name: "jeux", rows: 4, required: true }), t("admin.live.new_jeux_hint")),
      chosen,
      field(t("admin.live.title"), { name: "title", required: true, maxlength: 200, value: t("admin.start.first_live") }));
    /** @type {HTMLFormElement} */
    const form = actionForm(t, t("admin.live.open"), (sent) => this.#openAll(sent), this.account, this.channel, live);
    form.classList.add("start");
    const say = h("span", { class: "problem", role: "alert" });
    const later = h("button", { type: "button", class: "button is-quiet", onclick: () => this.#withoutLive(form, later, say) }, t("admin.start.later"));
    form.append(h("span", { class: "action" }, later, say));
    show();
    const title = admin.session ? t("admin.channel.first") : t("admin.setup.title");
    return [h("h1", { tabindex: -1 }, title), h("p", { class: "lead" }, t("admin.setup.text")), form];
  }

  /** @param {HTMLFormElement} form */
  async #openAll(form) {
    const { admin, t } = this;
    if (!admin || !t) return;
    await this.#accountAndChannel(form);
    const jeux = await jeuxOf(admin, linesOf(valueOf(form, "jeux")));
    const live = await makeLive(admin, t, { title: valueOf(form, "title"), bareme: valueOf(form, "bareme"), jeux });
    await admin.api.post(`admin/lives/${live.live_id}/open`, { open_jeux: "first" });
    if (admin.data.keys.length === 0) await admin.api.post(admin.path("/overlay-keys"), { name: "OBS" });
    await admin.reload();
    admin.isStarting = false;
    admin.onChange();
  }

  /** Account and channel, and no live yet. @param {HTMLFormElement} form @param {HTMLButtonElement} button @param {HTMLElement} say */
  #withoutLive(form, button, say) {
    const { admin, t, account, channel } = this;
    if (!admin || !t || !account || !channel) return;
    if (!account.disabled && !isFilled(account)) return;
    if (!channel.disabled && !isFilled(channel)) return;
    perform(say, button, t, async () => {
      await this.#accountAndChannel(form);
      admin.isStarting = false;
      admin.onChange();
    });
  }

  /** @param {HTMLFormElement} form */
  async #accountAndChannel(form) {
    const { admin } = this;
    if (!admin) return;
    admin.isStarting = true;
    const data = new FormData(form);
    if (!admin.session) {
      await admin.signedIn(await admin.api.post("admin/setup", { token: this.setupToken, name: valueOf(form, "name"), password: String(data.get("password")) }));
    }
    if (admin.channels.length === 0) {
      const title = valueOf(form, "channel");
      const slug = valueOf(form, "slug") || slugOf(title);
      try {
        await admin.api.post("admin/channels", { slug, title });
      } catch (error) {
        // Its title has another name in this form.
        throw error instanceof ApiError && error.field === "title" ? Object.assign(error, { field: "channel" }) : error;
      }
      await admin.loadChannels();
    }
  }
}

/** @param {string} title @param {...Node} children */
function step(title, ...children) {
  return h("fieldset", { class: "start__step" }, h("legend", { class: "start__title" }, title), children);
}

/** Whether the fields of a part are filled in; says what is missing. @param {HTMLFieldSetElement} part */
function isFilled(part) {
  const controls = [...part.elements].filter((control) => control instanceof HTMLInputElement);
  return controls.every((control) => control.reportValidity());
}

define("admin-start", AdminStart);
