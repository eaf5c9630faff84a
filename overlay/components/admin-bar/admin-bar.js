// @ts-check
/** Top of the page: which channel, since when on air, and the help. */
import { define, h, rebuild, setText } from "../../lib/dom.js";
import { hoursMinutesSeconds } from "../../lib/live-clock.js";

export class AdminBar extends HTMLElement {
  /**
   * @param {import("../../lib/admin.js").Admin} admin
   * @param {import("../../lib/i18n.js").Texts} t
   * @param {() => void} onHelp
   */
  setUp(admin, t, onHelp) {
    this.admin = admin;
    this.t = t;
    this.name = h("div", { class: "top__name" });
    this.airWords = h("span", { class: "top__words" });
    this.airTime = h("span", { class: "top__time", role: "timer" });
    this.air = h("p", { class: "top__air" }, h("i", { class: "top__dot" }), this.airWords, this.airTime);
    this.help = h("button", { type: "button", class: "button is-small is-icon is-plain", "aria-label": t("admin.help.open"), title: t("admin.help.open"), onclick: onHelp }, h("kbd", { class: "cap" }, "?"));
    this.classList.add("top");
    this.replaceChildren(this.name, this.air, this.help);
    return this;
  }

  /** @returns {number} milliseconds until the clock shows another second */
  render() {
    const { admin, t, name, air, airWords, airTime, help } = this;
    if (!admin || !t || !name || !air || !airWords || !airTime || !help) return 0;
    const { channels, slug, channel, session } = admin;
    const isChoice = channels.length > 1;
    rebuild(name, JSON.stringify([slug, channels.map((one) => [one.slug, one.title])]), () => [
      h(channel ? "h1" : "p", { class: isChoice ? "sr-only" : "top__title", dir: "auto" }, channel?.title ?? "Barème"),
      isChoice ? this.#chooser() : null,
    ]);
    air.hidden = help.hidden = !session || !channel;
    const onAir = admin.openLive !== null;
    const words = !admin.isConnected ? t(admin.snapshot.state ? "link.reconnecting" : "link.connecting") : admin.testLive ? t("admin.test.short") : onAir ? t("link.live") : t("link.idle");
    air.dataset.air = !admin.isConnected ? "lost" : admin.testLive ? "test" : onAir ? "live" : "idle";
    setText(airWords, words);
    const openedAtUs = onAir && admin.isConnected ? admin.openedAtUs : 0;
    airTime.hidden = openedAtUs === 0;
    if (openedAtUs === 0) return 0;
    const elapsedMs = Math.max(0, (admin.clock?.nowUs() ?? 0) - openedAtUs) / 1000;
    setText(airTime, hoursMinutesSeconds(elapsedMs));
    return 1000 - (elapsedMs % 1000);
  }

  #chooser() {
    const { admin, t } = this;
    if (!admin || !t) return null;
    const onchange = (/** @type {Event} */ event) => {
      if (event.target instanceof HTMLSelectElement) admin.choose(event.target.value);
    };
    const options = admin.channels.map(({ slug, title }) => h("option", { value: slug, selected: slug === admin.slug }, title));
    return h("select", { class: "top__chooser", "aria-label": t("admin.channel.label"), "data-focus": "channel", onchange }, options);
  }
}

define("admin-bar", AdminBar);
