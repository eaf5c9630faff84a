// A scene is one screen in one state. The accessibility test looks at every scene, and so does whoever takes pictures.
import { readdirSync } from "node:fs";
import { openPage, PHONE } from "./browser.mjs";
import { Server, until } from "./server.mjs";

/**
 * @typedef {object} Scene
 * @property {string} name unique, such as `viewer-open`
 * @property {{width: number, height: number}} [viewport] a phone's unless it says
 * @property {('fr'|'en')[]} [langs] both unless it says
 * @property {('light'|'dark')[]} [schemes] both unless it says; pages that look the same in both name one
 * @property {(stage: Stage) => Promise<import("playwright-core").Page>} show brings the state on screen, and waits for it
 */

const LOCALES = { fr: "fr-FR", en: "en-GB" };
export const LANGS = /** @type {const} */ (["fr", "en"]);
export const SCHEMES = /** @type {const} */ (["light", "dark"]);
const PASSWORD = "une phrase assez longue";

/** @returns {Promise<Scene[]>} */
export async function allScenes() {
  const folder = new URL("../scenes/", import.meta.url);
  const files = readdirSync(folder).filter((name) => name.endsWith(".mjs")).sort();
  const lists = await Promise.all(files.map(async (name) => (await import(new URL(name, folder).href)).default));
  const scenes = lists.flat();
  const names = scenes.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice) throw new Error(`two scenes are called ${twice}`);
  return scenes;
}

let seeded = 0;

/** What a scene builds itself from: a server, and pages in one language and colour scheme. */
export class Stage {
  /** @param {{server: Server, browser: import("playwright-core").Browser, scene: Scene, lang: 'fr'|'en', scheme: 'light'|'dark'}} given */
  constructor({ server, browser, scene, lang, scheme }) {
    this.server = server;
    this.browser = browser;
    this.lang = lang;
    this.look = {
      viewport: scene.viewport ?? PHONE,
      locale: LOCALES[lang],
      colorScheme: scheme,
      reducedMotion: /** @type {const} */ ("reduce"),
    };
    this.closing = [];
  }

  /** A channel of this scene's own. */
  seed(options = {}) {
    seeded += 1;
    return this.server.seed({ slug: `scene-${seeded}`, ...options });
  }

  /** A page of this scene, which closes with it. @param {string} where path or address */
  async open(where, more = {}) {
    const page = await openPage(this.browser, new URL(where, this.server.origin).href, { ...this.look, ...more });
    this.closing.push(() => page.context().close());
    return page;
  }

  /**
   * The admin page of a channel, signed in.
   *
   * @param {string} slug
   * @param {{role?: 'admin'|'moderator', server?: Server, origin?: string, prepare?: (context: import("playwright-core").BrowserContext) => Promise<void>}} [options]
   */
  async admin(slug, { role = "admin", server = this.server, origin = server.origin, prepare = async () => {}, ...more } = {}) {
    const name = `scenes-${role}`;
    server.accounts ??= new Map();
    if (!server.accounts.has(role)) server.accounts.set(role, server.streamer("add", name, "--role", role, { password: PASSWORD }));
    const context = await this.browser.newContext({ ...this.look, ...more });
    this.closing.push(() => context.close());
    await this.#signIn(context, server, origin, name, role);
    await prepare(context);
    await context.addInitScript((chosen) => localStorage.setItem("bareme.admin.channel", chosen), slug);
    return openPage(this.browser, `${origin}/admin`, { context });
  }

  /** With the session of an earlier scene where it still opens the door: nobody may sign in all the time. */
  async #signIn(context, server, origin, name, role) {
    server.sessions ??= new Map();
    const kept = `${role} at ${origin}`;
    if (server.sessions.has(kept)) await context.addCookies(server.sessions.get(kept));
    if ((await context.request.get(`${origin}/api/admin/session`)).ok()) return;
    const attempt = () => context.request.post(`${origin}/api/admin/login`, { data: { name, password: PASSWORD } });
    // Tests that sign in all the time have the same address.
    const signedIn = await until("an attempt to sign in", async () => attempt().then((answer) => answer.status() !== 429 && answer), 30_000, 1_000);
    if (!signedIn.ok()) throw new Error(`sign-in: ${signedIn.status()} ${await signedIn.text()}`);
    server.sessions.set(kept, await context.cookies());
  }

  /** A server of this scene's own, for what shows only on an empty or a broken one. @param {{withToken?: boolean}} [options] */
  async emptyServer(options) {
    const server = await Server.start(options);
    this.closing.push(() => server.stop());
    return server;
  }

  /** Clears everything away, also when a part of it cannot be. @returns {Promise<Error[]>} what went wrong */
  async close() {
    const problems = [];
    for (const close of this.closing.reverse()) await Promise.resolve().then(close).catch((error) => problems.push(error));
    return problems;
  }
}

/**
 * Shows a scene to `look`, and clears it away whatever happens.
 *
 * @template T
 * @param {ConstructorParameters<typeof Stage>[0]} given
 * @param {(page: import("playwright-core").Page) => Promise<T>} look
 */
export async function onStage(given, look) {
  const stage = new Stage(given);
  let seen;
  try {
    seen = await look(await given.scene.show(stage));
  } catch (error) {
    // Why the scene failed says more than what failed after it.
    await stage.close();
    throw error;
  }
  const [problem] = await stage.close();
  if (problem) throw problem;
  return seen;
}
