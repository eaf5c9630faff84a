// @ts-check
/** Addresses to give away: the viewers' page with its QR code and its line for the chat, and the keys of overlays. */
/** @import { Admin, Channel, OverlayKey } from "../../lib/admin.js" */
import { actionButton, actionForm, field, valueOf } from "../../lib/actions.js";
import { copyButton, copyLine } from "../../lib/copy.js";
import { define, h, icon, rebuild } from "../../lib/dom.js";
import { nameAndHint } from "../../lib/rows.js";
import { readStored, writeStored } from "../../lib/stored.js";
import { AdminBuilder } from "../admin-builder/admin-builder.js";

/** The languages that a chat may speak, each with its line. */
const CHAT = /** @type {const} */ ([
  { lang: "fr", label: "admin.links.chat_fr", text: "admin.links.chat_text_fr" },
  { lang: "en", label: "admin.links.chat_en", text: "admin.links.chat_text_en" },
]);

/** How an address is said and typed: without its scheme. @param {string} url */
const spoken = (url) => url.replace(/^https?:\/\//, "");

export class AdminLinks extends HTMLElement {
  /**
   * @param {Admin} admin
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {import("../../lib/format.js").Format} format
   */
  setUp(admin, t, format) {
    this.admin = admin;
    this.t = t;
    this.format = format;
    this.classList.add("studio");
    this.viewer = h("div", { class: "section" });
    this.keys = h("div", {});
    this.builder = new AdminBuilder().setUp(admin, t);
    this.said = h("p", { class: "field__hint", role: "status" });
    const run = async (/** @type {HTMLFormElement} */ form) => {
      const made = await admin.api.post(admin.path("/overlay-keys"), { name: valueOf(form, "name") || "OBS" });
      form.reset();
      await admin.reload();
      this.#say(t("admin.links.made", { name: made.name }));
    };
    this.make = actionForm(t, t("admin.links.make"), run, field(t("admin.links.key_name"), { name: "name", maxlength: 80, placeholder: "OBS" }));
    this.make.classList.add("is-row");
    this.replaceChildren(
      h("section", { class: "section" }, h("h2", { class: "section__title" }, t("admin.links.viewer_title")), this.viewer),
      this.builder,
      h("section", { class: "section" }, h("h2", { class: "section__title" }, t("admin.links.keys_title")), h("p", { class: "field__hint" }, t("admin.links.keys_hint")), this.keys, this.make, this.said),
    );
    return this;
  }

  /** @param {string} words */
  #say(words) {
    if (this.said) this.said.textContent = words;
  }

  render() {
    const { admin, viewer, keys, make, builder } = this;
    const channel = admin?.channel;
    if (!admin || !viewer || !keys || !make || !builder || !channel) return;
    const isAdmin = admin.session?.role === "admin";
    make.hidden = !isAdmin;
    if (rebuild(viewer, `${channel.slug} ${channel.viewer_url}`, () => this.#viewer(channel))) this.#say("");
    rebuild(keys, JSON.stringify([channel.slug, isAdmin, admin.data.keys]), () => this.#keys(admin.data.keys, isAdmin));
    builder.render();
  }

  /** @param {Channel} channel */
  #viewer({ slug, title, viewer_url: url }) {
    const { admin, t } = this;
    if (!admin || !t) return [];
    const qr = `${admin.base}/api/channels/${encodeURIComponent(slug)}/qr.svg`;
    const image = (/** @type {string} */ alt) => h("img", { class: "qr__image", src: qr, alt, width: 132, height: 132 });
    const close = h("button", { type: "button", class: "button is-icon qr-show__close", title: t("admin.links.close"), onclick: () => show.close() }, icon("close"), h("span", { class: "sr-only" }, t("admin.links.close")));
    const show = h("dialog", { class: "qr-show", "aria-label": t("admin.links.qr_of", { title }) },
      close,
      h("p", { class: "qr-show__title", dir: "auto" }, title),
      image(t("admin.links.qr_of", { title })),
      h("p", { class: "qr-show__address" }, spoken(url)),
    );
    // A click beside the picture closes it, as Escape does.
    show.addEventListener("click", (event) => event.target === show && show.close());
    return [
      copyLine(t("admin.links.viewer"), url, false, t),
      h("div", { class: "qr" },
        image(t("admin.links.qr_of", { title })),
        h("div", { class: "qr__tools" },
          h("p", { class: "field__hint" }, t("admin.links.qr_hint")),
          h("button", { type: "button", class: "button is-small", onclick: () => show.showModal() }, t("admin.links.qr_large")),
          h("a", { class: "button is-small is-quiet", href: qr, download: `${slug}-qr.svg` }, t("admin.links.qr_svg"))),
        show),
      h("div", { class: "section" }, CHAT.map((line) => this.#chat(slug, url, line))),
    ];
  }

  /** @param {string} slug @param {string} url @param {typeof CHAT[number]} line */
  #chat(slug, url, { lang, label, text }) {
    const { t } = this;
    if (!t) return null;
    const name = `bareme.chat.${slug}.${lang}`;
    const own = t(text, { url: spoken(url) });
    const kept = readStored(name);
    const input = h("input", { class: "field__input", lang, maxlength: 400, autocomplete: "off", value: typeof kept === "string" ? kept : own });
    const isOwn = () => input.value.trim() === "" || input.value === own;
    const back = h("button", { type: "button", class: "button is-small is-link", hidden: isOwn(), onclick: () => {
      input.value = own;
      keep();
      input.focus();
    } }, t("admin.links.chat_reset"));
    const keep = () => {
      writeStored(name, isOwn() ? null : input.value);
      back.hidden = isOwn();
    };
    input.addEventListener("input", keep);
    const id = `chat-${lang}`;
    input.id = id;
    return h("div", { class: "chat-line" },
      h("label", { class: "field__label", for: id }, t(label)),
      input,
      copyButton(t, () => input.value.trim() || own, { name: t(label) }),
      back);
  }

  /** @param {OverlayKey[]} keys @param {boolean} isAdmin */
  #keys(keys, isAdmin) {
    const { admin, t, format } = this;
    if (!admin || !t || !format) return [];
    if (keys.length === 0) return [h("p", { class: "empty" }, t("admin.links.no_keys"))];
    const note = isAdmin ? null : h("p", { class: "field__hint" }, t("admin.links.keys_moderator"));
    return [note, ...keys.map((key) => {
      const revoke = async () => {
        await admin.api.delete(admin.path(`/overlay-keys/${key.key_id}`));
        await admin.reload();
        this.#say(t("admin.links.revoked", { name: key.name }));
      };
      return h("div", { class: "key" },
        h("div", { class: "key__head" },
          nameAndHint(key.name, t("admin.since", { date: format.date(key.created_at_us) })),
          isAdmin ? actionButton(t, t("admin.revoke"), revoke, { class: "is-small is-link", confirm: t("admin.revoke_confirm") }) : null),
        key.url ? copyLine(t("admin.links.overlay"), key.url, true, t) : isAdmin ? h("p", { class: "field__hint" }, t("admin.links.unreadable")) : null);
    })];
  }
}

define("admin-links", AdminLinks);
