// @ts-check
/** The audit log: who did what, newest first, with a filter and more on demand. */
import { actionButton, actionForm, field, labelled, problemWords, valueOf } from "../../lib/actions.js";
import { define, h } from "../../lib/dom.js";

/**
 * @typedef {{at_us: number, who: string, door: 'page'|'token'|'cli', credential?: string, action: string,
 *   about?: Record<string, string>, outcome: 'done'|'refused'|'failed', code?: string}} Entry
 * @typedef {{entries: Entry[], next: string|null}} Page
 */

const KINDS = { all: "admin.audit.kind_all", sign_in: "admin.audit.kind_sign_in", change: "admin.audit.kind_change", refused: "admin.audit.kind_refused" };
const OUTCOMES = { refused: "admin.audit.refused", failed: "admin.audit.failed" };
const EXPORTS = { csv: "admin.audit.csv", ndjson: "admin.audit.ndjson" };
/** Entries that are asked for at once. */
const PAGE = 10;

export class AdminAudit extends HTMLElement {
  #query = "kind=all";
  /** @type {string|null} */
  #next = null;

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
    this.list = h("ul", { class: "audit__list" });
    this.more = h("div", {});
    this.exports = h("div", { class: "chips" });
    this.problem = h("p", { class: "problem", role: "alert" });
    const kind = h("select", { class: "field__input", name: "kind" }, Object.entries(KINDS).map(([name, words]) => h("option", { value: name }, t(words))));
    const find = async (/** @type {HTMLFormElement} */ form) => {
      this.#query = new URLSearchParams({ kind: valueOf(form, "kind"), text: valueOf(form, "text") }).toString();
      await this.#first();
    };
    const tools = h("div", { class: "audit__tools" }, labelled(t("admin.audit.kind"), kind), field(t("admin.audit.text"), { name: "text", type: "search", maxlength: 80 }));
    this.replaceChildren(h("p", { class: "field__hint" }, t("admin.audit.hint")), actionForm(t, t("admin.audit.find"), find, tools), this.problem, this.list, this.more, this.exports);
    return this;
  }

  /** Reads the newest entries: when the tab opens. */
  async load() {
    if (!this.t || !this.problem) return;
    try {
      await this.#first();
      this.problem.textContent = "";
    } catch (error) {
      this.problem.textContent = problemWords(error, this.t);
    }
  }

  async #first() {
    const { admin, t, list, exports } = this;
    if (!admin || !t || !list || !exports) return;
    const page = await this.#page();
    list.replaceChildren(...(page.entries.length === 0 && page.next === null ? [h("li", { class: "empty" }, t("admin.audit.none"))] : page.entries.map((entry) => this.#entry(entry))));
    this.#after(page);
    exports.replaceChildren(...Object.entries(EXPORTS).map(([ending, words]) =>
      h("a", { class: "button is-small is-quiet", href: `${admin.base}/api/admin/audit.${ending}?${this.#query}`, download: `bareme-audit.${ending}` }, t(words))));
  }

  /** @param {string|null} [after] @returns {Promise<Page>} */
  #page(after = null) {
    const from = after === null ? "" : `&after=${after}`;
    return this.admin?.api.get(`admin/audit?${this.#query}&limit=${PAGE}${from}`) ?? Promise.resolve({ entries: [], next: null });
  }

  /** @param {Page} page */
  #after(page) {
    const { t, more, list } = this;
    if (!t || !more || !list) return;
    this.#next = page.next;
    const read = async () => {
      const following = await this.#page(this.#next);
      list.append(...following.entries.map((entry) => this.#entry(entry)));
      this.#after(following);
    };
    more.replaceChildren(...(page.next === null ? [] : [actionButton(t, t("admin.audit.more"), read, { class: "is-small", focus: "audit-more" })]));
  }

  /** @param {Entry} entry */
  #entry(entry) {
    const { t, format } = this;
    if (!t || !format) return h("li");
    const action = `audit.${entry.action}`;
    const who = entry.who || t(entry.door === "cli" ? "admin.audit.command" : "admin.audit.nobody");
    const door = entry.door === "token" ? ` (${t("admin.audit.token")} ${entry.credential ?? ""})` : "";
    const rule = `rule.${entry.code}`;
    const refused = entry.outcome === "done" ? null : h("span", { class: "audit__refused" }, t(OUTCOMES[entry.outcome]));
    const about = Object.values(entry.about ?? {});
    if (entry.outcome !== "done" && entry.code) about.push(t.has(rule) && !t(rule).includes("{") ? t(rule) : entry.code);
    return h("li", { class: "audit__entry" },
      h("span", {}, h("span", { class: "audit__what" }, t.has(action) ? t(action) : entry.action), refused),
      h("span", { class: "audit__about" }, `${format.date(entry.at_us)} · `, h("bdi", {}, who), door),
      about.length > 0 ? h("span", { class: "audit__about" }, h("bdi", {}, about.join(" · "))) : null);
  }
}

define("admin-audit", AdminAudit);
