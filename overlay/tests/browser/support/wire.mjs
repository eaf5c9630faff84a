// A wire between browser and server that can be cut, and that can refuse WebSocket upgrades as some proxies do.
import net from "node:net";
import { freePort } from "./server.mjs";

export class Wire {
  /** Lives as long as the test `t`. */
  static async to(port, t) {
    const wire = new Wire();
    t.after(() => wire.stop());
    wire.connections = new Set();
    wire.isCut = false;
    wire.refusesUpgrades = false;
    /** @type {(() => void)[]|null} what the server said meanwhile */
    wire.held = null;
    wire.port = await freePort();
    wire.server = net.createServer((client) => wire.#join(client, port)).listen(wire.port, "127.0.0.1");
    await new Promise((resolve) => wire.server.once("listening", resolve));
    wire.origin = `http://127.0.0.1:${wire.port}`;
    return wire;
  }

  #join(client, port) {
    if (this.isCut) return client.destroy();
    const server = net.connect(port, "127.0.0.1");
    const pair = { client, server };
    this.connections.add(pair);
    const end = () => {
      client.destroy();
      server.destroy();
      this.connections.delete(pair);
    };
    for (const socket of [client, server]) socket.on("error", end).on("close", end);
    client.on("data", (data) => {
      if (this.refusesUpgrades && /^upgrade: websocket/im.test(data.toString("latin1"))) {
        client.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
      }
      server.write(data);
    });
    server.on("data", (data) => (this.held ? this.held.push(() => client.write(data)) : client.write(data)));
  }

  /** Keeps back what the server says, until it is released. */
  hold() {
    this.held = [];
  }

  release() {
    for (const say of this.held ?? []) say();
    this.held = null;
  }

  cut() {
    this.isCut = true;
    for (const { client, server } of this.connections) {
      client.destroy();
      server.destroy();
    }
  }

  mend() {
    this.isCut = false;
  }

  stop() {
    this.cut();
    this.server.close();
  }
}
