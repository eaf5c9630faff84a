// @ts-check
/** Makes lives out of what people choose and type: a preset becomes the channel's own bareme, a title a jeu. */
/** @import { Bareme, Critere, LiveState } from "./types.js" */

/** What marks a preset among the baremes to choose from. */
const PRESET = "preset:";

/** @typedef {import("./admin.js").Admin} Admin */

/**
 * The baremes to choose from: those of the channel, then the ready-made ones.
 *
 * @param {Admin} admin
 * @param {import("./i18n.js").Texts} t
 * @returns {{value: string, name: string, bareme: Bareme}[]}
 */
export function baremeChoices(admin, t) {
  const saved = admin.data.baremes.map((bareme) => ({ value: bareme.bareme_id, name: bareme.name, bareme }));
  const names = new Set(saved.map(({ name }) => name));
  const presets = admin.presets.map((preset, index) => ({ value: `${PRESET}${index}`, name: presetName(preset, t), bareme: preset }));
  return [...saved, ...presets.filter(({ name }) => !names.has(name))];
}

/**
 * What a preset is called in the page's language.
 *
 * @param {Bareme} preset
 * @param {import("./i18n.js").Texts} t
 */
export function presetName({ criteres }, t) {
  const [first] = criteres;
  const values = { n: criteres.length, max: first.max };
  if (criteres.length > 1) return t("admin.preset.several", values);
  return first.step < 1 ? t("admin.preset.halves", values) : t("admin.preset.one", values);
}

/**
 * One line about a critere: "Fun, 1 à 5".
 *
 * @param {Critere} critere
 * @param {import("./i18n.js").Texts} t
 */
export function critereWords(critere, t) {
  return t("admin.critere.words", { name: t.own(critere.labels) || critere.key, min: critere.min, max: critere.max });
}

/**
 * The id of the chosen bareme; a preset becomes the channel's own first.
 *
 * @param {Admin} admin
 * @param {import("./i18n.js").Texts} t
 * @param {string} value
 */
async function chosenBareme(admin, t, value) {
  if (!value.startsWith(PRESET)) return value;
  const preset = admin.presets[Number(value.slice(PRESET.length))];
  const name = presetName(preset, t);
  const same = admin.data.baremes.find((bareme) => bareme.name === name);
  return (same ?? (await admin.api.post(admin.path("/baremes"), { ...preset, name }))).bareme_id;
}

/**
 * The numbers of jeux by their titles; those the catalogue does not have are added to it.
 *
 * @param {Admin} admin
 * @param {string[]} titles
 * @returns {Promise<number[]>}
 */
export async function jeuxOf(admin, titles) {
  const ids = [];
  for (const title of titles) {
    const same = admin.data.jeux.find((jeu) => jeu.title === title);
    const jeu = same ?? (await admin.api.post(admin.path("/jeux"), { title }));
    if (!same) admin.data.jeux.push(jeu);
    ids.push(jeu.jeu_id);
  }
  return [...new Set(ids)];
}

/**
 * @param {Admin} admin
 * @param {import("./i18n.js").Texts} t
 * @param {{title: string, bareme: string, jeux: number[], blind?: boolean, minimum?: number}} plan
 * @returns {Promise<LiveState>} a draft
 */
export async function makeLive(admin, t, { title, bareme, jeux, blind = false, minimum = 1 }) {
  const bareme_id = await chosenBareme(admin, t, bareme);
  return admin.api.post(admin.path("/lives"), { title, bareme_id, jeux, blind, minimum_votes: minimum });
}
