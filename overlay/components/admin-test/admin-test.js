// @ts-check
/** The rehearsal: made-up votes for overlay and console, while no live is on air. */
import { perform } from "../../lib/actions.js";
import { define, h, setText } from "../../lib/dom.js";
import { minutesSeconds } from "../../lib/live-clock.js";

export class AdminTest extends HTMLElement {
  /** @param {import("../../lib/admin.js").Admin} admin @param {import("../../lib/i18n.js").Texts} t */
  setUp(admin, t) {
    this.admin = admin;
    this.t = t;
    this.classList.add("test-mode");
    const say = h("span", { class: "problem", role: "alert" });
    const toggle = () => {
      if (this.button?.getAttribute("aria-busy") !== "true") perform(say, this.button ?? null, t, () => this.#turn(admin.testLive === null));
    };
    this.button = h("button", { type: "button", role: "switch", class: "switch", "aria-checked": "false", "data-key": "t", "aria-keyshortcuts": "T", onclick: toggle },
      h("i", { class: "switch__track" }),
      h("span", { class: "switch__words" }, h("b", {}, t("admin.test.name")), " ", t("admin.test.text")),
      h("kbd", { class: "cap", "aria-hidden": "true" }, "T"));
    this.left = h("p", { class: "test-mode__left" });
    this.stop = h("button", { type: "button", class: "button", onclick: toggle }, t("admin.test.stop"));
    this.running = h("div", { class: "test-mode__running" }, this.left, this.stop);
    this.replaceChildren(this.button, this.running, say);
    return this;
  }

  /** @param {boolean} on */
  async #turn(on) {
    const { admin } = this;
    if (!admin) return;
    await admin.api.post(admin.path("/test-mode"), { on });
  }

  /** @returns {number} milliseconds until it ends by itself */
  render() {
    const { admin, t, button, running, left } = this;
    if (!admin || !t || !button || !running || !left) return 0;
    const isOn = admin.testLive !== null;
    this.hidden = admin.openLive !== null || (!isOn && admin.snapshot.state === null);
    button.setAttribute("aria-checked", String(isOn));
    running.hidden = !isOn;
    this.classList.toggle("is-on", isOn);
    // A server of an older build does not say when, in the middle of a rolling update.
    const endsAtUs = admin.testLive?.ends_at_us;
    const leftMs = endsAtUs === undefined ? 0 : (admin.clock?.msUntil(endsAtUs) ?? 0);
    setText(left, leftMs > 0 ? t("admin.test.left", { time: minutesSeconds(leftMs) }) : t("admin.test.on"));
    return leftMs;
  }
}

define("admin-test", AdminTest);
