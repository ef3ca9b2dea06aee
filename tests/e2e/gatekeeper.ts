/** A proxy as some companies have it: it lets requests through, and WebSockets only if it is told to. */

/**
 * What happens to a handshake: an answer of 403; no answer; the 101 and none of the frames; the 101 and the end; all passes.
 * `holds` is for requests: their responses, or also the heads of these, are held back until they end, as a proxy does that buffers or compresses them.
 */
export type Manner = "refuses" | "hangs" | "swallows" | "ends" | "passes";
export type Holding = "nothing" | "bodies" | "heads and bodies";

import { createServer, request, type Server } from "node:http";
import { once } from "node:events";
import { connect } from "node:net";
import { buffer } from "node:stream/consumers";
import { freePort, startPage, startServer, startStage } from "./harness.js";

export class Gatekeeper {
  manner: Manner = "refuses";
  holds: Holding = "nothing";
  refused = 0;
  passed = 0;
  /** Requests under way. */
  requests = 0;
  readonly #server: Server;

  private constructor(port: number) {
    this.#server = createServer((incoming, answer) => {
      const { method, url, headers } = incoming;
      const outgoing = request({ host: "127.0.0.1", port, method, path: url, headers }, (response) => {
        answer.writeHead(response.statusCode ?? 502, response.headers);
        if (this.holds === "bodies") answer.flushHeaders();
        if (this.holds === "nothing") response.pipe(answer);
        else void buffer(response).then((body) => answer.end(body), () => answer.destroy());
        response.on("error", () => answer.destroy());
      });
      outgoing.on("error", () => answer.destroy());
      this.requests += 1;
      answer.on("close", () => {
        this.requests -= 1;
        outgoing.destroy();
      });
      incoming.pipe(outgoing);
    });
    this.#server.on("upgrade", ({ url, rawHeaders }, near) => {
      near.on("error", () => undefined);
      if (this.manner !== "passes") this.refused += 1;
      if (this.manner === "hangs") return;
      if (this.manner === "refuses") {
        near.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
      }
      if (this.manner === "passes") this.passed += 1;
      const far = connect(port, "127.0.0.1");
      const lines = rawHeaders.flatMap((name, n) => (n % 2 ? [] : [`${name}: ${rawHeaders[n + 1] ?? ""}\r\n`]));
      far.write(`GET ${url ?? "/"} HTTP/1.1\r\n${lines.join("")}\r\n`);
      far.on("error", () => near.destroy());
      far.on("close", () => near.destroy());
      near.on("close", () => far.destroy());
      if (this.manner === "passes") near.pipe(far).pipe(near);
      else {
        const { manner } = this;
        far.once("data", (answer: Buffer) => {
          near.write(answer.subarray(0, answer.indexOf("\r\n\r\n") + 4));
          if (manner === "ends") near.end();
        });
      }
    });
  }

  /** Stand before a port. */
  static async before(port: number): Promise<{ gatekeeper: Gatekeeper; port: number }> {
    const gatekeeper = new Gatekeeper(port);
    gatekeeper.#server.listen(0, "127.0.0.1");
    await once(gatekeeper.#server, "listening");
    const address = gatekeeper.#server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    return { gatekeeper, port: address.port };
  }

  close() {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

/** A page, and a server on the port `behind` such a proxy; `close` leaves the server, which tests replace, to them. */
export const startBehindGatekeeper = async () => {
  const [{ stage, dsn }, { site, address }, behind] = await Promise.all([startStage(), startPage(), freePort()]);
  const server = await startServer(dsn, behind);
  const { gatekeeper, port } = await Gatekeeper.before(behind);
  const close = async () => {
    gatekeeper.close();
    await site.close();
    await stage.stop();
  };
  return { dsn, address, server, behind, gatekeeper, port, close };
};
