// @ts-check
/** Gives the browser's owner a file that was made on this page. */
import { h } from "./dom.js";

/** @param {Blob} blob @param {string} name */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  // The download has begun when the click returns; the address may go at the next turn.
  setTimeout(() => URL.revokeObjectURL(url));
}

/** A file's name out of a title. @param {string} title @param {string} ending such as `.png` */
export function fileName(title, ending) {
  const plain = title.normalize("NFD").replace(/\p{M}/gu, "").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "");
  return `${plain.slice(0, 80) || "bareme"}${ending}`;
}
