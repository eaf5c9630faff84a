// @ts-check
/** What the server told this page, as `data-` attributes of its body. */

/** @returns {{base: string, lang: string, build: string, channel: string, party: string}} `party`: whom passkeys are for */
export function pageData() {
  const { base = "", lang = "fr", build = "", channel = "", party = "" } = document.body.dataset;
  return { base, lang, build, channel, party };
}

/**
 * Address of a channel's socket.
 *
 * @param {string} base
 * @param {string} channel
 * @param {Record<string, string>} [query]
 */
export function socketUrl(base, channel, query = {}) {
  const url = new URL(`${base}/ws/${encodeURIComponent(channel)}`, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url.href;
}

/**
 * Loads this page again because the server runs another build: once for each build, so that two servers that disagree
 * cannot make it spin.
 *
 * @param {string} build
 * @param {number} withinMs spread over this long, because every page hears of it at the same instant
 */
export function reloadOnceFor(build, withinMs) {
  try {
    if (sessionStorage.getItem("bareme.reloaded") === build) return;
    sessionStorage.setItem("bareme.reloaded", build);
  } catch {
    return;
  }
  setTimeout(() => location.reload(), Math.random() * withinMs);
}
