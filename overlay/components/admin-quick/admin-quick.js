// @ts-check
/** The two addresses one needs while a show runs, each with its button to copy it. */
import { copyLine } from "../../lib/copy.js";
import { define, h, rebuild } from "../../lib/dom.js";

export class AdminQuick extends HTMLElement {
  /** @param {import("../../lib/admin.js").Admin} admin @param {import("../../lib/i18n.js").Texts} t */
  setUp(admin, t) {
    this.admin = admin;
    this.t = t;
    this.classList.add("section");
    this.lines = h("div", { class: "rows" });
    this.replaceChildren(h("h2", { class: "section__title" }, t("admin.tab.links")), this.lines);
    return this;
  }

  render() {
    const { admin, t, lines } = this;
    const channel = admin?.channel;
    if (!admin || !t || !lines || !channel) return;
    // A key that is there to be read: none is for moderators, and none of those made by older versions.
    const overlay = admin.data.keys.find(({ url }) => url)?.url;
    rebuild(lines, JSON.stringify([channel.viewer_url, overlay]), () => [
      copyLine(t("admin.links.viewer"), channel.viewer_url, false, t),
      overlay ? copyLine(t("admin.links.overlay"), overlay, true, t) : null,
    ]);
  }
}

define("admin-quick", AdminQuick);
