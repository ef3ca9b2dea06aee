// A server in memory: the real client talks to it through a socket that is none. It speaks as much of the wire as tests need.
import { createClient, type ChannelName, type Client, type Gone, type Payload, type RowsName, type WebSocketLike } from "@flowcraft/realtime";
import type { Channels } from "@/realtime.gen";

type ClientFrame = { subscribe?: string[]; unsubscribe?: string[]; settle?: string; rows?: true; ref?: number };

export class FakeServer {
  readonly client: Client;
  /** Transactions that a client waits for. */
  readonly settling: string[] = [];
  /** What the channels of rows hold when a client subscribes; the others are empty. */
  readonly rows: { [C in RowsName]?: readonly Payload<C>[] } = {};
  /** Channels of rows that have too many. */
  readonly refused = new Set<RowsName>();
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

  /** A transaction that took one row off a channel. */
  remove<C extends ChannelName>(channel: C, gone: Gone<C>): void {
    this.#send({ channel, gone, id: this.#position++ });
    this.#send({ cursor: this.cursor, n: 1, at: "2026-11-22T20:13:00Z" });
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
    if (rows) for (const name of subscribe ?? []) this.#state(name, ref);
    else if (subscribe !== undefined) this.#send({ subscribed: subscribe, cursor: this.cursor, n: 0, ref });
    if (settle !== undefined) this.settling.push(settle);
  }

  #state(name: string, ref: number | undefined): void {
    if (this.refused.has(name as RowsName)) {
      const error = { code: "limit_exceeded", message: "no more than 10000 rows are sent", channel: name, limit: "rows_per_channel", ref };
      this.#send({ error });
      return;
    }
    const items = this.rows[name as RowsName] ?? [];
    const prefix = name.split(".")[0] as keyof typeof keys;
    this.#send({ rows: name, key: keys[prefix], items });
    this.#send({ subscribed: [name], cursor: this.cursor, n: 0, rows: items.length, ref });
  }

  #send(frame: object): void {
    this.#socket?.onmessage?.({ data: JSON.stringify(frame) });
  }
}

/** The keys of the channels of rows, as the service declares them. */
const keys = {
  flow_rows: ["flow_id"],
  run_rows: ["run_id"],
  step_rows: ["run_id", "position"],
  dashboard_rows: ["at"],
  announcement_rows: ["announcement_id"],
  run_update_members: ["id"],
  runs_members: ["id"],
} as const;

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
