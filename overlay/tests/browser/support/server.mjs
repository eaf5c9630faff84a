// Starts the real program on a free port with a data folder of its own, and talks to its API.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const BINARY = process.env.BAREME_BIN ?? fileURLToPath(new URL("../../../../target/release/bareme", import.meta.url));
const READY_WITHIN_MS = 15_000;

export async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks again and again until `check` gives something, and says what was awaited when it never does. */
export async function until(what, check, withinMs = 5_000, everyMs = 20) {
  const end = performance.now() + withinMs;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (performance.now() > end) assert.fail(`not within ${withinMs} ms: ${what}`);
    await sleep(everyMs);
  }
}

export class Server {
  /** @param {{withToken?: boolean, env?: Record<string, string>}} [options] without a token nobody is signed in anywhere: a first run */
  static async start({ withToken = true, env = {} } = {}) {
    const server = new Server();
    server.port = await freePort();
    server.dataDir = mkdtempSync(path.join(tmpdir(), "bareme-pages-"));
    server.env = {
      ...process.env,
      BAREME_LISTEN: `127.0.0.1:${server.port}`,
      BAREME_OPS_LISTEN: "127.0.0.1:0",
      BAREME_DATA_DIR: server.dataDir,
      RUST_BACKTRACE: "1",
      ...env,
    };
    delete server.env.BAREME_BIN;
    server.origin = `http://127.0.0.1:${server.port}`;
    // Browsers have passkeys for names only.
    server.named = `http://localhost:${server.port}`;
    if (withToken) {
      const made = execFileSync(BINARY, ["token", "new", "--name", "tests", "--scope", "read,drive,manage,accounts"], { env: server.env });
      server.token = made.toString().trim();
    }
    await server.run();
    return server;
  }

  async run() {
    this.output = "";
    this.child = spawn(BINARY, ["serve"], { env: this.env, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.child.stdout, this.child.stderr]) stream.on("data", (data) => (this.output += data));
    this.exited = new Promise((resolve) => this.child.once("exit", resolve));
    await until("the server answers", async () => {
      if (this.child.exitCode !== null) assert.fail(`the server ended:\n${this.output}`);
      return fetch(`${this.origin}/`).then((response) => response.ok, () => false);
    }, READY_WITHIN_MS);
    this.readyAt = performance.now();
  }

  /** The one-time link that a server without accounts prints. */
  setupLink() {
    return until("a set-up link", () => this.output.match(/https?:\/\/\S+\/admin#setup=[\w-]+/)?.[0]);
  }

  async kill(signal = "SIGTERM") {
    this.child.kill(signal);
    await this.exited;
  }

  async restart(signal) {
    await this.kill(signal);
    await this.run();
  }

  async stop() {
    await this.kill();
    rmSync(this.dataDir, { recursive: true, force: true });
  }

  async api(method, rest, body) {
    const response = await fetch(`${this.origin}/api/${rest}`, {
      method,
      headers: { Authorization: `Bearer ${this.token}`, ...(body !== undefined && { "Content-Type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    assert.ok(response.ok, `${method} ${rest}: ${response.status} ${text}`);
    return text === "" ? null : JSON.parse(text);
  }

  /** What `bareme streamer` prints: accounts of admins are made by people, and this is one. */
  streamer(...words) {
    const [password] = words.filter((word) => typeof word === "object").map(({ password }) => password);
    const typed = words.filter((word) => typeof word === "string");
    const file = password === undefined ? [] : ["--password-file", "-"];
    return execFileSync(BINARY, ["streamer", ...typed, ...file], { env: this.env, input: password ?? "", stdio: ["pipe", "pipe", "ignore"] }).toString().trim();
  }

  /** A channel with a live on air, and an overlay key. */
  async seed({ slug = "max", title = "Max joue", jeux = ["Ultraroute 94", "Les Brumes de Valmère", "Petite Forge"], preset = 0, open_jeux = "first", live: more = {}, bareme: change = (b) => b } = {}) {
    await this.api("POST", "admin/channels", { slug, title });
    const ids = [];
    for (const name of jeux) ids.push((await this.api("POST", `admin/channels/${slug}/jeux`, { title: name })).jeu_id);
    const presets = await this.api("GET", "admin/bareme-presets");
    const { bareme_id } = await this.api("POST", `admin/channels/${slug}/baremes`, change(presets[preset]));
    const { live_id } = await this.api("POST", `admin/channels/${slug}/lives`, { title: "Soirée", bareme_id, jeux: ids, ...more });
    if (open_jeux) await this.api("POST", `admin/lives/${live_id}/open`, { open_jeux });
    const key = await this.api("POST", `admin/channels/${slug}/overlay-keys`, { name: "OBS" });
    return { slug, live_id, jeux: ids, key, overlay: `/overlay/${slug}?key=${key.key}` };
  }

  /** One vote as a viewer of its own. */
  async vote(body) {
    const response = await fetch(`${this.origin}/api/note`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    assert.equal(response.status, 200, await response.clone().text());
    return response.json();
  }
}
