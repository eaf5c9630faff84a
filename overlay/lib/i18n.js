// @ts-check
/** Words of the page's language, from the catalogue the server keeps. */
/** @import { Bilingual } from "./types.js" */

/** @typedef {ReturnType<typeof createTexts>} Texts */

/**
 * @param {Record<string, string>} messages
 * @param {string} lang
 */
export function createTexts(messages, lang) {
  const plural = new Intl.PluralRules(lang);
  /**
   * @param {string} key
   * @param {Record<string, string|number>} [values]
   */
  const t = (key, values = {}) => {
    const message = messages[key] ?? key;
    return message.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
  };
  /**
   * The form of a message for a count. `{n}` is what stands for it in the text.
   *
   * @param {string} key
   * @param {number} count
   * @param {Record<string, string|number>} [values]
   */
  t.n = (key, count, values = {}) => {
    const form = plural.select(count) === "one" ? "one" : "other";
    return t(`${key}.${form}`, { n: count, ...values });
  };
  /** Whether there are words for a key that the server chose. @param {string} key */
  t.has = (key) => Object.hasOwn(messages, key);
  /** @param {Bilingual} text */
  t.own = (text) => (lang === "fr" ? text.fr || text.en : text.en || text.fr);
  t.lang = lang;
  return t;
}
