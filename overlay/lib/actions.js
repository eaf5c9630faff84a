// @ts-check
/** Buttons and forms that do something on the server, and say next to themselves what went wrong. */
import { ApiError } from "./api.js";
import { h } from "./dom.js";

/** How long a button asks "really?". */
const CONFIRM_MS = 5_000;

/** @type {Record<string, string>} */
const CODES = {
  unreachable: "problem.unreachable",
  unauthorized: "problem.unauthorized",
  csrf: "problem.unauthorized",
  forbidden: "problem.forbidden",
  unavailable: "problem.unavailable",
  too_fast: "problem.too_fast",
};

/**
 * @param {unknown} error
 * @param {import("./i18n.js").Texts} t
 */
export function problemWords(error, t) {
  if (!(error instanceof ApiError)) return t("problem.unknown");
  const words = CODES[error.code];
  const said = [error.field && `${error.field} `, error.reason, error.remedy && `; ${error.remedy}`].filter(Boolean).join("");
  if (!words) return said ? t("problem.refused", { said }) : t("problem.unknown");
  return said ? `${t(words)} (${said})` : t(words);
}

/**
 * Runs what a control stands for, once at a time, and shows what went wrong in `say`.
 *
 * @param {HTMLElement} say
 * @param {HTMLButtonElement|null} button
 * @param {import("./i18n.js").Texts} t
 * @param {() => Promise<unknown>} run
 */
async function perform(say, button, t, run) {
  if (button) button.setAttribute("aria-busy", "true");
  say.textContent = "";
  try {
    await run();
  } catch (error) {
    say.textContent = problemWords(error, t);
  }
  button?.removeAttribute("aria-busy");
}

/**
 * A button and the place for its problem.
 *
 * @param {import("./i18n.js").Texts} t
 * @param {string} label
 * @param {() => Promise<unknown>} run
 * @param {{class?: string, confirm?: string, focus?: string, title?: string, icon?: Node, disabled?: boolean}} [options]
 */
export function actionButton(t, label, run, options = {}) {
  const say = h("span", { class: "problem", role: "alert" });
  const words = h("span", {}, label);
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  let asking;
  const onclick = () => {
    if (button.getAttribute("aria-busy") === "true") return;
    if (options.confirm && asking === undefined) {
      words.textContent = options.confirm;
      button.classList.add("is-asking");
      asking = setTimeout(calm, CONFIRM_MS);
      return;
    }
    calm();
    perform(say, button, t, run);
  };
  const calm = () => {
    clearTimeout(asking);
    asking = undefined;
    words.textContent = label;
    button.classList.remove("is-asking");
  };
  const attributes = { type: "button", class: `button ${options.class ?? ""}`, "data-focus": options.focus, title: options.title };
  const button = h("button", { ...attributes, disabled: options.disabled, onclick }, options.icon ?? null, words);
  if (options.icon) words.classList.add("sr-only");
  return h("span", { class: "action" }, button, say);
}

/**
 * A form that is sent by Enter or its button.
 *
 * @param {import("./i18n.js").Texts} t
 * @param {string} label of the button
 * @param {(form: HTMLFormElement) => Promise<unknown>} run
 * @param {...(Node|null)} fields
 */
export function actionForm(t, label, run, ...fields) {
  const say = h("p", { class: "problem", role: "alert" });
  const button = h("button", { type: "submit", class: "button is-main" }, label);
  const form = h("form", { class: "form" }, fields, button, say);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (button.getAttribute("aria-busy") !== "true") perform(say, button, t, () => run(form));
  });
  return form;
}

/**
 * A labelled field.
 *
 * @param {string} label
 * @param {Record<string, unknown>} attributes of the input
 * @param {string} [hint]
 */
export function field(label, attributes, hint) {
  const { class: classes, ...rest } = attributes;
  const input = h("input", { class: "field__input", autocomplete: "off", ...rest });
  return h("label", { class: `field ${classes ?? ""}` }, h("span", { class: "field__label" }, label), input, hint ? h("span", { class: "field__hint" }, hint) : null);
}

/**
 * The value of a named control of a form.
 *
 * @param {HTMLFormElement} form
 * @param {string} name
 */
export function valueOf(form, name) {
  return String(new FormData(form).get(name) ?? "").trim();
}
