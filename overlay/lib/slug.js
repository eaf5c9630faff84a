// @ts-check
/** A name for URLs out of a title; empty when nothing of it can be in one. @param {string} title */
export function slugOf(title) {
  const plain = title.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  return plain.replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 40);
}
