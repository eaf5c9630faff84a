// @ts-check
/** A dot and a word: whether what the page shows is live. */
import { define, h, setText } from "../../lib/dom.js";

const WORDS = {
  connecting: "link.connecting",
  live: "link.live",
  polling: "link.polling",
  lost: "link.reconnecting",
  refused: "link.refused",
  gone: "link.gone",
};

export class LinkStatus extends HTMLElement {
  /** @param {import("../../lib/i18n.js").Texts} t */
  setUp(t) {
    this.t = t;
    this.classList.add("link-status");
    this.setAttribute("role", "status");
    this.words = h("span", {});
    this.replaceChildren(h("i", { class: "link-status__dot" }), this.words);
    return this;
  }

  /**
   * @param {import("../../lib/snapshot.js").Snapshot} snapshot
   * @param {string} [idleWords] said instead of "live" while nothing is on air
   */
  render(snapshot, idleWords) {
    if (!this.t || !this.words) return;
    const stale = snapshot.link === "live" && snapshot.state?.stale;
    this.dataset.link = stale ? "lost" : snapshot.link;
    const onAir = snapshot.live?.status === "open";
    const idle = snapshot.link === "live" && !onAir && idleWords;
    this.classList.toggle("is-idle", Boolean(idle));
    setText(this.words, stale ? this.t("link.stale") : idle || this.t(WORDS[snapshot.link]));
  }
}

define("link-status", LinkStatus);
