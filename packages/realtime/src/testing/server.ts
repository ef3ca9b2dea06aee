/** The server in memory: a log and its connections, by the protocol and without a network. */
import type { WebSocketLike } from "../client.js";
import type { Cursor } from "../core/frames.js";

export type Event =
  | { readonly channel: string; readonly payload: unknown }
  | { readonly channel: string; readonly gone: unknown }
  | { readonly channel: string; readonly skipped: { readonly reason: string } };
export type ResetReason = "expired" | "rewound" | "other_database" | "unreadable" | "truncated" | "redeclared";

type Logged = { readonly event: Event; readonly id: number; readonly xid: number };
type Request = {
  readonly subscribe?: readonly string[];
  readonly unsubscribe?: readonly string[];
  readonly settle?: string;
  readonly since?: Cursor;
  readonly ref?: number;
};
type CursorParts = { readonly era: number; readonly xid: number };

/** Too long for any test, and below a timer's maximum of 24 days. */
const HEARTBEAT_SECONDS = 100_000;
const CURSOR = /^test\/(\d+)\/(\d+)$/;

export class Server {
  reachable = true;
  xid = 0;
  readonly schema: string;
  readonly refusals = new Map<string, string>();
  readonly #log: Logged[] = [];
  readonly #connections = new Set<Connection>();
  /** For each era but the last, the reason why its cursors cannot be replayed. */
  readonly #eras: ResetReason[] = [];

  constructor(schema: string) {
    this.schema = schema;
  }

  get cursor(): Cursor {
    return `test/${this.#eras.length}/${this.xid}`;
  }

  accept(socket: WebSocketLike) {
    const connection = new Connection(this, socket);
    // A socket opens after its constructor: its owner sets the listeners first.
    queueMicrotask(() => {
      if (!this.reachable) connection.lose(1006);
      else if (connection.open()) this.#connections.add(connection);
    });
    return connection;
  }

  remove(connection: Connection) {
    this.#connections.delete(connection);
  }

  commit(events: readonly Event[]) {
    this.xid += 1;
    for (const event of events) this.#log.push({ event, id: this.#log.length + 1, xid: this.xid });
    for (const connection of this.#connections) connection.deliver(this.xid - 1);
    return { xid: String(this.xid), cursor: this.cursor };
  }

  broadcastEphemeral(event: Event) {
    for (const connection of this.#connections) connection.broadcastEphemeral(event);
  }

  /** Lose every connection. */
  lose(code: number) {
    for (const connection of [...this.#connections]) connection.lose(code);
  }

  /** Make replays from all earlier cursors impossible. */
  reset(reason: ResetReason) {
    this.#eras.push(reason);
    for (const connection of this.#connections) connection.resetAll(reason);
  }

  refuse(channel: string, code: string) {
    this.refusals.set(channel, code);
    for (const connection of this.#connections) connection.expel(channel);
  }

  /** The events after a cursor on some channels, or the reason why they cannot be replayed. */
  after(since: Cursor, channels: readonly string[]): readonly Logged[] | ResetReason | "malformed" {
    const found = parse(since);
    if (!found) return "malformed";
    return this.#eras[found.era] ?? (found.xid > this.xid ? "rewound" : this.since(found.xid, channels));
  }

  since(xid: number, channels: readonly string[]): readonly Logged[] {
    return this.#log.filter((logged) => logged.xid > xid && channels.includes(logged.event.channel));
  }
}

export class Connection {
  readonly #server: Server;
  readonly #socket: WebSocketLike;
  readonly #live = new Set<string>();
  #settling: string[] = [];
  #closed = false;

  constructor(server: Server, socket: WebSocketLike) {
    this.#server = server;
    this.#socket = socket;
  }

  open(): boolean {
    if (this.#closed) return false;
    call(this.#socket.onopen, {});
    const { schema, cursor } = this.#server;
    this.#send({ hello: { protocol: 1, schema, heartbeat: HEARTBEAT_SECONDS, cursor } });
    return true;
  }

  received(data: string) {
    queueMicrotask(() => this.#take(JSON.parse(data) as Request)); // written by the client in this package
  }

  closed() {
    this.#closed = true;
    this.#server.remove(this);
  }

  lose(code: number) {
    if (this.#closed) return;
    this.closed();
    call(this.#socket.onclose, { code });
  }

  /** Deliver the events committed after a transaction, and the commit point. */
  deliver(xid: number) {
    const events = this.#server.since(xid, [...this.#live]);
    if (events.length) this.#group(events, { cursor: this.#server.cursor, n: events.length, at: new Date().toISOString() });
    this.#settle();
  }

  broadcastEphemeral(event: Event) {
    if (this.#live.has(event.channel)) this.#send(event);
  }

  resetAll(reason: string) {
    if (this.#live.size) this.#reset([...this.#live], reason);
  }

  expel(channel: string) {
    if (this.#live.delete(channel)) this.#refuse(channel);
  }

  #take({ subscribe, unsubscribe = [], settle, since, ref }: Request) {
    if (this.#closed) return;
    if (subscribe) this.#subscribe(subscribe, since, ref);
    for (const channel of unsubscribe) this.#live.delete(channel);
    if (settle !== undefined) this.#settling.push(settle);
    this.#settle();
  }

  #subscribe(names: readonly string[], since?: Cursor, ref?: number) {
    const { refusals } = this.#server;
    for (const name of names) if (refusals.has(name)) this.#refuse(name, ref);
    const channels = names.filter((name) => !refusals.has(name));
    if (!channels.length) return;
    for (const name of channels) this.#live.add(name);
    const events = since === undefined ? [] : this.#server.after(since, channels);
    if (typeof events === "string") this.#reset(channels, events, ref);
    else this.#group(events, { subscribed: channels, cursor: this.#server.cursor, n: events.length, ref });
  }

  #group(events: readonly Logged[], closing: object) {
    for (const { event, id } of events) this.#send({ ...event, id });
    this.#send(closing);
  }

  #reset(channels: readonly string[], reason: string, ref?: number) {
    this.#send({ reset: channels, reason, cursor: this.#server.cursor, ref });
  }

  #refuse(channel: string, ref?: number) {
    const message = `the test refused ${channel}`;
    this.#send({ error: { code: this.#server.refusals.get(channel), message, channel, ref } });
  }

  #settle() {
    const { xid, cursor } = this.#server;
    for (const settled of this.#settling.filter((asked) => BigInt(asked) <= xid)) this.#send({ settled, cursor });
    this.#settling = this.#settling.filter((asked) => BigInt(asked) > xid);
  }

  #send(frame: object) {
    if (!this.#closed) call(this.#socket.onmessage, { data: JSON.stringify(frame) });
  }
}

const parse = (cursor: Cursor): CursorParts | undefined => {
  const found = CURSOR.exec(cursor);
  return found ? { era: Number(found[1]), xid: Number(found[2]) } : undefined;
};

const call = (listener: ((event: never) => void) | null, event: object) => {
  listener?.(event as never); // the listeners read only the properties that these events have
};
