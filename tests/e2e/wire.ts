/** A TCP proxy in front of a server on this machine, which counts the bytes that the server sends. */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

export class CountedWire {
  /** Bytes from the server, of all connections together. */
  received = 0;
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  private constructor(to: number) {
    this.#server = createServer((client) => {
      const server = connect(to, "127.0.0.1");
      server.on("data", (data) => (this.received += data.length));
      server.pipe(client).pipe(server);
      for (const [one, other] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#sockets.add(one);
        one.on("error", () => other.destroy());
        one.on("close", () => {
          this.#sockets.delete(one);
          other.destroy();
        });
      }
    });
  }

  static async start(to: number): Promise<CountedWire> {
    const wire = new CountedWire(to);
    wire.#server.listen(0, "127.0.0.1");
    await once(wire.#server, "listening");
    return wire;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the wire has no port");
    return address.port;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}
