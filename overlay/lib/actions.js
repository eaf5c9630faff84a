// @ts-check
/** Buttons and forms that do something on the server, and say next to themselves what went wrong. */
import { showOver } from "./announce.js";
import { ApiError } from "./api.js";
import { h } from "./dom.js";
import { PasskeyProblem } from "./passkeys.js";
import { keyCap } from "./shortcuts.js";

/** How long a button asks "really?". */
const CONFIRM_MS = 5_000;

/**
 * What went wrong, in the page's language where the server names the rule that was broken, else in its own words.
 *
 * @param {unknown} error
 * @param {import("./i18n.js").Texts} t
 */
export function problemWords(error, t) {
  if (error instanceof PasskeyProblem) return t(error.message);
  if (!(error instanceof ApiError)) return t("problem.unknown");
  const rule = `rule.${error.rule}`;
  if (error.rule && t.has(rule)) {
    const numbers = new Intl.NumberFormat(t.lang);
    const params = Object.entries(error.params).map(([name, value]) => [name, typeof value === "number" ? numbers.format(value) : value]);
    const said = t(rule, Object.fromEntries(params));
    // Rules of a field are said of it, the others are sentences of their own.
    return /^\p{Lu}/u.test(said) ? said : withField(error, t, said);
  }
  // The server was not reached: there are no words of its.
  if (error.status === 0) return t("problem.unreachable");
  const said = [error.reason, error.remedy].filter(Boolean).join("; ");
  return said ? withField(error, t, said) : t("problem.unknown");
}

/** @param {ApiError} error @param {import("./i18n.js").Texts} t @param {string} said */
function withField(error, t, said) {
  if (!error.field) return t("problem.refused", { said });
  const [, last = error.field] = error.field.match(/([a-z_]+)$/) ?? [];
  const name = `field.${last}`;
  return t("problem.of_field", { field: t.has(name) ? t(name) : error.field, said });
}

/**
 * Runs what a control stands for, once at a time, and shows what went wrong in `say`.
 *
 * @param {HTMLElement} say
 * @param {HTMLButtonElement|null} button
 * @param {import("./i18n.js").Texts} t
 * @param {() => Promise<unknown>} run
 * @param {(error: ApiError, words: string) => boolean} [place] shows the problem elsewhere; false: not there
 */
export async function perform(say, button, t, run, place = () => false) {
  if (button) button.setAttribute("aria-busy", "true");
  say.textContent = "";
  try {
    await run();
  } catch (error) {
    const words = problemWords(error, t);
    if (error instanceof ApiError && place(error, words)) return;
    // What somebody else did meanwhile may have taken the button away.
    if (say.isConnected) say.textContent = words;
    else showOver(words);
  } finally {
    button?.removeAttribute("aria-busy");
  }
}

/**
 * A button and the place for its problem.
 *
 * @param {import("./i18n.js").Texts} t
 * @param {string} label
 * @param {() => Promise<unknown>} run
 * @param {{class?: string, confirm?: string, focus?: string, title?: string, icon?: Node, disabled?: boolean,
 *   key?: string, detail?: Node|null}} [options] `key` is its keyboard shortcut, shown on it; `detail` a second line
 */
export function actionButton(t, label, run, options = {}) {
  const say = h("span", { class: "problem", role: "alert" });
  const words = h("span", { class: "button__words" }, label);
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  let asking;
  const onclick = (/** @type {MouseEvent} */ event) => {
    // The second click of a double click is not meant for what the first one brought here.
    if (button.getAttribute("aria-busy") === "true" || event.detail > 1) return;
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
  const { key, detail } = options;
  const attributes = { type: "button", class: `button ${options.class ?? ""}`, "data-focus": options.focus, title: options.title };
  const shortcut = key ? { "data-key": key, "aria-keyshortcuts": key.toUpperCase() } : {};
  const text = detail ? h("span", { class: "button__lines" }, words, detail) : words;
  const button = h("button", { ...attributes, ...shortcut, disabled: options.disabled, onclick }, options.icon ?? null, text, key ? keyCap(key) : null);
  if (options.icon) words.classList.add("sr-only");
  return h("span", { class: "action" }, button, say);
}

/**
 * A form that is sent by Enter or its button. A problem with one of its fields is said next to that field.
 *
 * @param {import("./i18n.js").Texts} t
 * @param {string} label of the button
 * @param {(form: HTMLFormElement) => Promise<unknown>} run
 * @param {...(Node|null)} fields
 */
export function actionForm(t, label, run, ...fields) {
  const say = h("p", { class: "problem", role: "alert" });
  const button = h("button", { type: "submit", class: "button is-main" }, h("span", { class: "button__words" }, label));
  const form = h("form", { class: "form" }, fields, button, say);
  // A field that is folded away cannot say what it lacks.
  form.addEventListener("invalid", (event) => event.target instanceof Element && unfold(event.target), { capture: true });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearMarks(form);
    if (button.getAttribute("aria-busy") !== "true") perform(say, button, t, () => run(form), (error, words) => markField(form, error.field, words));
  });
  return form;
}

let marks = 0;

/**
 * Marks the control of a field as wrong, says why next to it and goes there.
 *
 * @param {HTMLFormElement} form
 * @param {string} name as the server calls the field: `title`, or `criteres[1].step`
 * @param {string} words
 * @returns {boolean} whether the form has such a control
 */
export function markField(form, name, words) {
  const control = name ? controlOf(form, name) : null;
  const place = control?.closest(".field");
  if (!control || !place) return false;
  marks += 1;
  const say = h("span", { class: "problem", role: "alert", id: `problem-${marks}` }, words);
  place.append(say);
  control.setAttribute("aria-invalid", "true");
  control.setAttribute("aria-describedby", say.id);
  control.addEventListener("input", () => clearMark(control, say), { once: true });
  unfold(control);
  control.focus();
  return true;
}

/** Opens whatever an element is folded away in. @param {Element} element */
function unfold(element) {
  for (let around = element.closest("details"); around; around = around.parentElement?.closest("details") ?? null) around.open = true;
}

/** @param {HTMLElement} control @param {Element} say */
function clearMark(control, say) {
  say.remove();
  control.removeAttribute("aria-invalid");
  control.removeAttribute("aria-describedby");
}

/** @param {HTMLFormElement} form */
function clearMarks(form) {
  for (const control of form.querySelectorAll("[aria-invalid]")) {
    const say = control instanceof HTMLElement && form.querySelector(`#${control.getAttribute("aria-describedby")}`);
    if (say) clearMark(control, say);
  }
}

/** @param {HTMLFormElement} form @param {string} name @returns {HTMLElement|null} */
function controlOf(form, name) {
  const [, index, last] = name.match(/^criteres\[(\d+)\]\.?([a-z_]*)/) ?? [];
  const around = index === undefined ? form : form.querySelectorAll(".critere-edit")[Number(index)];
  const wanted = index === undefined ? name : last;
  return around?.querySelector(`[name="${CSS.escape(wanted)}"], [data-name="${CSS.escape(wanted)}"]`) ?? null;
}

let fields = 0;

/**
 * A label over any control. What is said below it is no part of its name.
 *
 * @param {string} label
 * @param {HTMLElement} control
 * @param {string} [hint]
 * @param {string} [classes]
 */
export function labelled(label, control, hint, classes = "") {
  fields += 1;
  const id = `field-${fields}`;
  control.setAttribute("aria-labelledby", id);
  return h("label", { class: `field ${classes}` }, h("span", { class: "field__label", id }, label), control, hint ? h("span", { class: "field__hint" }, hint) : null);
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
  return labelled(label, h("input", { class: "field__input", autocomplete: "off", ...rest }), hint, String(classes ?? ""));
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

/**
 * The lines of a text field that have something on them.
 *
 * @param {string} text
 */
export function linesOf(text) {
  return text.split("\n").map((line) => line.trim()).filter(Boolean);
}
