// A reverse proxy that serves the whole site below a path, as docs/operations.md describes: it takes the prefix off.
import http from "node:http";
import net from "node:net";
import { freePort } from "./server.mjs";

export class PrefixProxy {
  /** Listens at once, so that the server can be told its public address before it starts. @param {string} prefix such as `/notes` */
  static async listen(prefix) {
    const proxy = new PrefixProxy();
    proxy.prefix = prefix;
    proxy.port = await freePort();
    proxy.url = `http://127.0.0.1:${proxy.port}${prefix}`;
    /** Requests for what is not below the prefix: there is nothing there. @type {string[]} */
    proxy.strays = [];
    /** @type {number|null} */
    proxy.to = null;
    proxy.blocksSockets = false;
    proxy.server = http.createServer((request, response) => proxy.#pass(request, response));
    proxy.server.on("upgrade", (request, socket, head) => proxy.#upgrade(request, socket, head));
    await new Promise((resolve) => proxy.server.listen(proxy.port, "127.0.0.1", resolve));
    return proxy;
  }

  /** The path behind the proxy; null for strays. */
  #path(url = "/") {
    if (url.startsWith(`${this.prefix}/`)) return url.slice(this.prefix.length);
    this.strays.push(url);
    return null;
  }

  #pass(request, response) {
    const path = this.#path(request.url);
    if (path === null) return response.writeHead(404).end();
    const passed = http.request({ port: this.to, host: "127.0.0.1", method: request.method, path, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.rawHeaders);
      answer.pipe(response);
    });
    passed.on("error", () => response.destroy());
    request.pipe(passed);
  }

  #upgrade(request, socket, head) {
    const path = this.#path(request.url);
    if (path === null || this.blocksSockets) return socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    const server = net.connect(this.to, "127.0.0.1", () => {
      const headers = request.rawHeaders.reduce((text, part, index) => text + part + (index % 2 ? "\r\n" : ": "), "");
      server.write(`GET ${path} HTTP/1.1\r\n${headers}\r\n`);
      server.write(head);
      server.pipe(socket).pipe(server);
    });
    for (const end of [server, socket]) end.on("error", () => [server, socket].forEach((other) => other.destroy()));
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}
