// @ts-check
/** Who and what may act: me, other people, the browsers they are signed in with, and tokens for bots and decks. */
/** @import { Scope, Token } from "../../lib/admin.js" */
import { actionButton, actionForm, field, labelled, problemWords, valueOf } from "../../lib/actions.js";
import { copyButton, copyLine } from "../../lib/copy.js";
import { define, h, rebuild } from "../../lib/dom.js";
import { nameAndHint } from "../../lib/rows.js";

/**
 * @typedef {{name: string, role: Role, created_at_us: number, has_second_factor: boolean, passkeys: number}} Account
 * @typedef {{session_id: string, account: string, created_at_us: number, seen_at_us: number, current: boolean}} OpenSession
 * @typedef {'admin'|'moderator'} Role
 */

/** As short as a password may be. */
const SHORTEST_PASSWORD = 10;
const ROLES = { moderator: "admin.access.moderator", admin: "admin.access.admin" };
const SHORT_ROLES = { moderator: "admin.access.is_moderator", admin: "admin.access.is_admin" };
/** What a token may do; it reads and drives unless somebody says otherwise. @type {Record<Scope, string>} */
const SCOPES = { read: "admin.access.may_read", drive: "admin.access.may_drive", manage: "admin.access.may_manage", accounts: "admin.access.may_accounts" };
/** @type {Record<Scope, string>} */
const SHORT_SCOPES = { read: "admin.access.is_read", drive: "admin.access.is_drive", manage: "admin.access.is_manage", accounts: "admin.access.is_accounts" };
/** Days after which a token ends by itself; 0: never. */
const LIVES = [30, 90, 365, 0];
/** Without the characters that look like others. */
const LETTERS = "abcdefghijkmnpqrstuvwxyz23456789";

/** A password that nobody guesses and everybody can type: 80 bits in four groups. */
function madeUpPassword() {
  const letters = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => LETTERS[byte % LETTERS.length]);
  return [0, 4, 8, 12].map((start) => letters.slice(start, start + 4).join("")).join("-");
}

export class AdminAccess extends HTMLElement {
  /** @type {Token[]} */
  #tokens = [];
  /** @type {Account[]} */
  #accounts = [];
  /** @type {OpenSession[]} */
  #sessions = [];

  /**
   * @param {import("../../lib/admin.js").Admin} admin
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {import("../../lib/format.js").Format} format
   * @param {import("../admin-factor/admin-factor.js").AdminFactor} factor
   * @param {import("../admin-passkeys/admin-passkeys.js").AdminPasskeys} passkeys
   * @param {import("../admin-audit/admin-audit.js").AdminAudit} audit
   */
  setUp(admin, t, format, factor, passkeys, audit) {
    this.admin = admin;
    this.t = t;
    this.format = format;
    this.factor = factor;
    this.passkeys = passkeys;
    this.audit = audit;
    this.classList.add("studio");
    this.said = h("p", { class: "said", role: "status" });
    this.problem = h("p", { class: "problem", role: "alert" });
    this.me = h("div", { class: "section" });
    this.people = h("div", {});
    this.browsers = h("div", {});
    this.tokens = h("div", {});
    this.fresh = h("div", { class: "rows" });
    this.example = h("div", { class: "section example" });
    this.forAdmins = h("div", { class: "studio" },
      this.#section("admin.access.accounts", this.people, this.#fold("admin.access.new_account", this.#accountForm())),
      this.#section("admin.access.tokens", h("p", { class: "field__hint" }, t("admin.access.tokens_hint")), this.fresh, this.tokens, this.#tokenForm(), this.example),
      this.#section("admin.access.sessions", h("p", { class: "field__hint" }, t("admin.access.sessions_hint")), this.browsers),
      this.#section("admin.audit.title", audit));
    this.replaceChildren(this.#section("admin.access.session", this.problem, this.me, this.said), this.#section("admin.passkeys.title", passkeys), this.#section("admin.factor.title", factor), this.forAdmins);
    return this;
  }

  /** @param {string} title @param {...Node} children */
  #section(title, ...children) {
    return h("section", { class: "section" }, h("h2", { class: "section__title" }, this.t?.(title) ?? ""), children);
  }

  /** @param {string} title @param {Node} content */
  #fold(title, content) {
    return h("details", { class: "more" }, h("summary", {}, this.t?.(title) ?? ""), content);
  }

  /** @param {string} words */
  #say(words) {
    if (this.said) this.said.textContent = words;
  }

  get #isAdmin() {
    return this.admin?.session?.role === "admin";
  }

  /** Reads what only admins may see: when this tab opens, and after a change. */
  async load() {
    const { admin, t, problem } = this;
    if (!admin || !t || !problem) return;
    this.passkeys?.load();
    this.factor?.load();
    if (this.#isAdmin) {
      this.audit?.load();
      try {
        [this.#accounts, this.#tokens, this.#sessions] = await Promise.all(["admin/accounts", "admin/tokens", "admin/sessions"].map((path) => admin.api.get(path)));
        problem.textContent = "";
      } catch (error) {
        problem.textContent = problemWords(error, t);
      }
    }
    this.render();
  }

  render() {
    const { admin, t, me, people, tokens, browsers, forAdmins, example } = this;
    const session = admin?.session;
    if (!admin || !t || !me || !people || !tokens || !browsers || !forAdmins || !example || !session) return;
    // Every sign-in has a CSRF token of its own.
    if (rebuild(me, JSON.stringify([session.name, session.role, session.csrf]), () => this.#me(session.name, /** @type {Role} */ (session.role)))) {
      // Another person sits here now: what the last one did is none of their business.
      this.fresh?.replaceChildren();
      this.passkeys?.clear();
      this.factor?.clear();
      this.#say("");
    }
    forAdmins.hidden = !this.#isAdmin;
    if (!this.#isAdmin) return;
    rebuild(people, JSON.stringify([session.name, this.#accounts]), () => this.#accounts.map((account) => this.#account(account)));
    rebuild(tokens, JSON.stringify(this.#tokens), () => this.#tokens.length === 0 ? [h("p", { class: "empty" }, t("admin.access.no_tokens"))] : this.#tokens.map((token) => this.#token(token)));
    rebuild(browsers, JSON.stringify(this.#sessions), () => this.#sessions.map((open) => this.#session(open)));
    const live = admin.openLive?.live_id ?? "LIVE_ID";
    rebuild(example, live, () => this.#example(live));
  }

  /** @param {string} name @param {Role} role */
  #me(name, role) {
    const { admin, t } = this;
    if (!admin || !t) return [];
    const change = async (/** @type {HTMLFormElement} */ form) => {
      await admin.api.put(`admin/accounts/${encodeURIComponent(name)}/password`, { password: String(new FormData(form).get("password")), current: String(new FormData(form).get("current")) });
      form.reset();
      this.#say(t("admin.access.changed"));
      await this.load();
    };
    return [
      h("div", { class: "person" },
        h("span", { class: "person__name", dir: "auto" }, name),
        h("span", { class: "person__role" }, t(SHORT_ROLES[role])),
        actionButton(t, t("admin.sign_out"), () => admin.signOut(), { class: "is-small" })),
      role === "admin" ? null : h("p", { class: "field__hint" }, t("admin.access.moderator_hint")),
      this.#fold("admin.access.change_password", actionForm(t, t("admin.access.change"), change,
        field(t("admin.access.current_password"), { name: "current", type: "password", required: true, autocomplete: "current-password", maxlength: 256 }),
        this.#password(t("admin.access.new_password"), t("admin.access.change_hint", { n: SHORTEST_PASSWORD })))),
    ];
  }

  /** @param {string} label @param {string} hint */
  #password(label, hint) {
    return field(label, { name: "password", type: "password", required: true, autocomplete: "new-password", minlength: SHORTEST_PASSWORD, maxlength: 256 }, hint);
  }

  /** @param {Account} account */
  #account(account) {
    const { admin, t, format } = this;
    if (!admin || !t || !format) return null;
    const path = `admin/accounts/${encodeURIComponent(account.name)}`;
    const isMe = account.name === admin.session?.name;
    const isLastAdmin = account.role === "admin" && this.#accounts.filter(({ role }) => role === "admin").length === 1;
    const handed = h("div", {});
    const reset = async () => {
      const password = madeUpPassword();
      await admin.api.put(`${path}/password`, { password });
      handed.replaceChildren(copyLine(t("admin.access.password_of", { name: account.name }), password, true, t), h("p", { class: "field__hint" }, t("admin.access.hand_over")));
      this.#say(t("admin.access.was_reset", { name: account.name }));
    };
    const remove = async () => {
      await admin.api.delete(path);
      this.#say(t("admin.access.removed", { name: account.name }));
      await this.load();
    };
    const endFactor = async () => {
      await admin.api.delete(`${path}/second-factor`);
      this.#say(t("admin.access.factor_ended", { name: account.name }));
      await this.load();
    };
    const endPasskeys = async () => {
      await admin.api.delete(`${path}/passkeys`);
      this.#say(t("admin.access.passkeys_ended", { name: account.name }));
      await this.load();
    };
    const tools = isMe ? [h("span", { class: "field__hint" }, t("admin.access.you"))] : [
      actionButton(t, t("admin.access.reset"), reset, { class: "is-small is-link", confirm: t("admin.access.reset_confirm") }),
      account.has_second_factor ? actionButton(t, t("admin.access.end_factor"), endFactor, { class: "is-small is-link", confirm: t("admin.factor.end_confirm") }) : null,
      account.passkeys > 0 ? actionButton(t, t("admin.access.end_passkeys"), endPasskeys, { class: "is-small is-link", confirm: t("admin.passkeys.remove_confirm") }) : null,
      actionButton(t, t("admin.delete"), remove, { class: "is-small is-link", confirm: t("admin.delete_confirm") }),
    ];
    const hints = [
      t("admin.since", { date: format.date(account.created_at_us) }),
      account.has_second_factor && t("admin.access.two_steps"),
      account.passkeys > 0 && t.n("admin.access.passkeys", account.passkeys),
      isLastAdmin && t("admin.access.last_admin"),
    ];
    return h("div", { class: "key" },
      h("div", { class: "key__head" },
        nameAndHint(account.name, hints.filter(Boolean).join(" · ")),
        h("span", { class: "person__role" }, t(SHORT_ROLES[account.role])),
        h("span", { class: "key__tools" }, tools)),
      handed);
  }

  #accountForm() {
    const { admin, t } = this;
    if (!admin || !t) return h("div");
    const made = h("div", {});
    const run = async (/** @type {HTMLFormElement} */ form) => {
      const typed = String(new FormData(form).get("password"));
      const [name, password] = [valueOf(form, "name"), typed || madeUpPassword()];
      await admin.api.post("admin/accounts", { name, password, role: valueOf(form, "role") });
      made.replaceChildren(...(typed ? [] : [copyLine(t("admin.access.password_of", { name }), password, true, t), h("p", { class: "field__hint" }, t("admin.access.hand_over"))]));
      form.reset();
      this.#say(t("admin.access.made", { name }));
      await this.load();
    };
    const form = actionForm(t, t("admin.access.create"), run,
      field(t("admin.name"), { name: "name", required: true, maxlength: 64, autocapitalize: "none", spellcheck: "false" }),
      this.#roles(),
      field(t("admin.password"), { name: "password", type: "password", autocomplete: "new-password", minlength: SHORTEST_PASSWORD, maxlength: 256 }, t("admin.access.password_hint", { n: SHORTEST_PASSWORD })));
    return h("div", { class: "rows" }, form, made);
  }

  #roles() {
    const options = /** @type {Role[]} */ (Object.keys(ROLES)).map((role) => h("option", { value: role }, this.t?.(ROLES[role]) ?? role));
    return h("label", { class: "field" }, h("span", { class: "field__label" }, this.t?.("admin.access.role") ?? ""), h("select", { class: "field__input", name: "role" }, options));
  }

  #tokenForm() {
    const { admin, t } = this;
    if (!admin || !t) return h("div");
    const rights = h("fieldset", { class: "field rights" }, h("legend", { class: "field__label" }, t("admin.access.rights")),
      Object.entries(SCOPES).map(([scope, words]) => h("label", { class: "check" }, h("input", { type: "checkbox", name: "scopes", value: scope, checked: scope === "read" || scope === "drive" }), h("span", {}, t(words)))));
    const life = h("select", { class: "field__input", name: "days" }, LIVES.map((days) => h("option", { value: days }, days === 0 ? t("admin.access.no_end") : t("admin.access.days", { n: days }))));
    const run = async (/** @type {HTMLFormElement} */ form) => {
      const days = Number(valueOf(form, "days"));
      const made = await admin.api.post("admin/tokens", { name: valueOf(form, "name"), scopes: new FormData(form).getAll("scopes"), ...(days > 0 && { expires_in_days: days }) });
      this.fresh?.replaceChildren(copyLine(made.name, made.token, true, t), h("p", { class: "field__hint" }, t("admin.access.once")));
      form.reset();
      await this.load();
    };
    return this.#fold("admin.access.new_token", actionForm(t, t("admin.access.make"), run, field(t("admin.access.name"), { name: "name", required: true, maxlength: 80, placeholder: "Stream Deck" }), rights, labelled(t("admin.access.life"), life)));
  }

  /** @param {Token} token */
  #token(token) {
    const { admin, t, format } = this;
    if (!admin || !t || !format) return null;
    const revoke = async () => {
      await admin.api.delete(`admin/tokens/${token.token_id}`);
      this.fresh?.replaceChildren();
      this.#say(t("admin.access.revoked", { name: token.name }));
      await this.load();
    };
    return h("div", { class: "key" },
      h("div", { class: "key__head" },
        nameAndHint(token.name, `${t("admin.since", { date: format.date(token.created_at_us) })} · ${token.expires_at_us === null ? t("admin.access.no_end") : t("admin.access.until", { date: format.date(token.expires_at_us) })}`),
        h("span", { class: "person__role" }, token.scopes.map((scope) => t(SHORT_SCOPES[scope])).join(", ")),
        actionButton(t, t("admin.revoke"), revoke, { class: "is-small is-link", confirm: t("admin.revoke_confirm") })));
  }

  /** @param {OpenSession} open */
  #session(open) {
    const { admin, t, format } = this;
    if (!admin || !t || !format) return null;
    const end = async () => {
      await admin.api.delete(`admin/sessions/${open.session_id}`);
      this.#say(t("admin.access.ended", { name: open.account }));
      await this.load();
    };
    return h("div", { class: "key" },
      h("div", { class: "key__head" },
        nameAndHint(open.account, t("admin.access.seen", { since: format.date(open.created_at_us), seen: format.date(open.seen_at_us) })),
        open.current ? h("span", { class: "field__hint" }, t("admin.access.this_browser")) : actionButton(t, t("admin.access.end"), end, { class: "is-small is-link", confirm: t("admin.access.end_confirm") })));
  }

  /** @param {string} live */
  #example(live) {
    const { admin, t } = this;
    if (!admin || !t) return [];
    const url = new URL(`${admin.base}/api/admin/lives/${live}/next`, location.href).href;
    const call = `curl -X POST -H "Authorization: Bearer TOKEN" ${url}`;
    return [
      h("h3", { class: "field__label" }, t("admin.access.example")),
      h("p", { class: "field__hint" }, t("admin.access.example_hint")),
      h("pre", { class: "call", tabindex: 0, role: "region", "aria-label": t("admin.access.example") }, h("code", {}, call)),
      h("div", { class: "chips" },
        copyButton(t, call, { label: t("admin.access.copy_call"), class: "" }),
        h("a", { class: "button is-small is-quiet", href: `${admin.base}/api/docs`, target: "_blank", rel: "noopener" }, t("admin.access.docs"))),
    ];
  }
}

define("admin-access", AdminAccess);
