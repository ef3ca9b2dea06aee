/** The server in memory: a log and its connections, by the protocol and without a network. */
import type { WebSocketLike } from "../dial.js";
import type { Cursor } from "../core/frames.js";

export type Event =
  | { readonly channel: string; readonly payload: unknown }
  | { readonly channel: string; readonly gone: unknown }
  | { readonly channel: string; readonly skipped: { readonly reason: string } }
  | { readonly channel: string; readonly count: number };
export type ResetReason = "expired" | "rewound" | "other_database" | "unreadable" | "truncated" | "redeclared";

/** A channel whose members are counted from now on, or listed again: its subscribers are reset. */
type Restated = { readonly channel: string; readonly reset: ResetReason };
type Logged = { readonly event: Event | Restated; readonly id: number; readonly xid: number };
type Request = {
  readonly subscribe?: readonly string[];
  readonly unsubscribe?: readonly string[];
  readonly settle?: string;
  readonly since?: Cursor;
  readonly rows?: true;
  readonly present?: true;
  readonly absent?: readonly string[];
  readonly ref?: number;
};
type Row = Readonly<Record<string, unknown>>;
type CursorParts = { readonly era: number; readonly xid: number };

/** Too long for any test, and below a timer's maximum of 24 days. */
const HEARTBEAT_SECONDS = 100_000;
/** Rows in a frame. */
const PAGE = 100;
const CURSOR = /^test\/(\d+)\/(\d+)$/;

export class Server {
  reachable = true;
  xid = 0;
  readonly schema: string;
  readonly refusals = new Map<string, string>();
  /** The names of the key of a channel's rows, where they are not `id`. */
  readonly keys = new Map<string, readonly string[]>();
  /** The channels whose members are counted and not listed. */
  readonly counts = new Map<string, number>();
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

  commit(events: readonly (Event | Restated)[]) {
    this.xid += 1;
    for (const event of events) this.#log.push({ event, id: this.#log.length + 1, xid: this.xid });
    for (const connection of this.#connections) connection.deliver(this.xid - 1);
    return { xid: String(this.xid), cursor: this.cursor };
  }

  keyOf(channel: string) {
    return this.keys.get(channel) ?? ["id"];
  }

  /** The rows of a channel now, by their key: what its events amount to. */
  rows(channel: string): ReadonlyMap<string, Row> {
    const rows = new Map<string, Row>();
    for (const { event } of this.#log)
      if (event.channel === channel)
        if ("payload" in event) rows.set(this.#id(channel, event.payload), event.payload as Row);
        else if ("gone" in event) rows.delete(this.#id(channel, event.gone));
    return rows;
  }

  /** Commit the changes that make these the rows of a channel. */
  replace(channel: string, wanted: readonly unknown[]) {
    const before = this.rows(channel);
    const left = new Map(before);
    const events: (Event | Restated)[] = this.counts.delete(channel) ? [{ channel, reset: "redeclared" }] : [];
    for (const row of wanted) {
      const id = this.#id(channel, row);
      left.delete(id);
      if (JSON.stringify(before.get(id)) !== JSON.stringify(row)) events.push({ channel, payload: row });
    }
    const gone = ([...left.values()]).map((row) => Object.fromEntries(this.keyOf(channel).map((field) => [field, row[field]])));
    return this.commit([...gone.map((key) => ({ channel, gone: key })), ...events]);
  }

  /** Commit that a channel has so many members, which are not listed. */
  count(channel: string, members: number) {
    const wasCounted = this.counts.has(channel);
    this.counts.set(channel, members);
    return this.commit([wasCounted ? { channel, count: members } : { channel, reset: "redeclared" }]);
  }

  /** The channels of members on which the viewer is present now. */
  present() {
    return [...new Set([...this.#connections].flatMap((connection) => [...connection.present]))].sort();
  }

  #id(channel: string, row: unknown) {
    return JSON.stringify(this.keyOf(channel).map((field) => (row as Row)[field]));
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
  readonly present = new Set<string>();
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
    const found = this.#server.since(xid, [...this.#live]);
    const reset = restated(found);
    if (reset.length) this.#reset(reset, "redeclared");
    const events = found.filter(({ event }) => !reset.includes(event.channel));
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
    this.present.delete(channel);
    if (this.#live.delete(channel)) this.#refuse(channel);
  }

  #take({ subscribe, unsubscribe = [], absent = unsubscribe, settle, since, ref, rows, present }: Request) {
    if (this.#closed) return;
    if (subscribe) this.#subscribe(subscribe, since, ref, rows);
    if (present) for (const channel of subscribe ?? []) if (this.#live.has(channel)) this.present.add(channel);
    for (const channel of unsubscribe) this.#live.delete(channel);
    for (const channel of absent) this.present.delete(channel);
    if (settle !== undefined) this.#settling.push(settle);
    this.#settle();
  }

  #subscribe(names: readonly string[], since?: Cursor, ref?: number, rows?: true) {
    const { refusals } = this.#server;
    for (const name of names) if (refusals.has(name)) this.#refuse(name, ref);
    const channels = names.filter((name) => !refusals.has(name));
    if (!channels.length) return;
    for (const name of channels) this.#live.add(name);
    const events = since === undefined ? [] : this.#server.after(since, channels);
    if (rows && (since === undefined || typeof events === "string" || restated(events).length)) this.#states(channels, ref);
    else if (typeof events === "string") this.#reset(channels, events, ref);
    else this.#group(events, { subscribed: channels, cursor: this.#server.cursor, n: events.length, ref });
  }

  #states(channels: readonly string[], ref?: number) {
    for (const name of channels) {
      const skipped = this.#server.counts.get(name);
      const items = skipped === undefined ? [...this.#server.rows(name).values()] : [];
      const key = this.#server.keyOf(name);
      for (let n = 0; n === 0 || n < items.length; n += PAGE) this.#send({ rows: name, key, items: items.slice(n, n + PAGE) });
      this.#send({ subscribed: [name], cursor: this.#server.cursor, n: 0, rows: items.length, skipped, ref });
    }
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

/** The channels that are reset by these records. */
const restated = (events: readonly Logged[]) => events.flatMap(({ event }) => ("reset" in event ? [event.channel] : []));

const parse = (cursor: Cursor): CursorParts | undefined => {
  const found = CURSOR.exec(cursor);
  return found ? { era: Number(found[1]), xid: Number(found[2]) } : undefined;
};

const call = (listener: ((event: never) => void) | null, event: object) => {
  listener?.(event as never); // the listeners read only the properties that these events have
};
