// A server in memory: the real client talks to it through a socket that is none. It speaks as much of the wire as tests need.
import { createClient, type Client, type Payload, type WebSocketLike } from "@flowcraft/realtime";
import type { Channels, FlowUpdate } from "@/realtime.gen";

type ClientFrame = { subscribe?: string[]; unsubscribe?: string[]; settle?: string; rows?: true; ref?: number };

export class FakeServer {
  readonly client: Client;
  /** Transactions that a client waits for. */
  readonly settling: string[] = [];
  /** What the table of flows holds. */
  rows: readonly FlowUpdate[] = [];
  #socket: Socket | undefined;
  #position = 1;

  constructor() {
    const accept = (socket: Socket) => this.#accept(socket);
    const received = (frame: ClientFrame) => this.#received(frame);
    this.client = createClient({
      url: "ws://fake/realtime",
      linger: 0,
      WebSocket: class extends Socket {
        constructor() {
          super(accept, received);
        }
      },
    });
  }

  /** One transaction: its events and the commit point leave together. */
  commit(...events: { [C in keyof Channels]: readonly [channel: C, payload: Payload<C>] }[keyof Channels][]): void {
    for (const [channel, payload] of events) this.#send({ channel, payload, id: this.#position++ });
    this.#send({ cursor: this.cursor, n: events.length, at: "2026-11-22T20:13:00Z" });
  }

  /** Everything up to this transaction has been delivered. */
  settle(xid: string): void {
    this.#send({ settled: xid, cursor: this.cursor });
  }

  /** Reset: the events between cannot be replayed. */
  reset(...channels: string[]): void {
    this.#send({ reset: channels, reason: "rewound", cursor: this.cursor });
  }

  get cursor(): string {
    return `at ${this.#position}`;
  }

  #accept(socket: Socket): void {
    this.#socket = socket;
    this.#send({ hello: { protocol: 1, schema: "", heartbeat: 25, cursor: this.cursor } });
    this.#send({ cursor: this.cursor, n: 0, at: "2026-11-22T20:13:00Z" });
  }

  #received({ subscribe, settle, rows, ref }: ClientFrame): void {
    if (rows) this.#state(subscribe ?? [], ref);
    else if (subscribe !== undefined) this.#send({ subscribed: subscribe, cursor: this.cursor, n: 0, ref });
    if (settle !== undefined) this.settling.push(settle);
  }

  #state([name]: readonly string[], ref: number | undefined): void {
    this.#send({ rows: name, key: ["flow_id"], items: this.rows });
    this.#send({ subscribed: [name], cursor: this.cursor, n: 0, rows: this.rows.length, ref });
  }

  #send(frame: object): void {
    this.#socket?.onmessage?.({ data: JSON.stringify(frame) });
  }
}

class Socket implements WebSocketLike {
  onopen: ((event: object) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onerror: ((event: object) => void) | null = null;
  readonly #received: (frame: ClientFrame) => void;

  constructor(accept: (socket: Socket) => void, received: (frame: ClientFrame) => void) {
    this.#received = received;
    queueMicrotask(() => {
      this.onopen?.({});
      accept(this);
    });
  }

  send(data: string): void {
    const frame = JSON.parse(data) as ClientFrame; // the client of this package wrote it
    queueMicrotask(() => this.#received(frame));
  }

  close(): void {
    this.onmessage = null;
  }
}
