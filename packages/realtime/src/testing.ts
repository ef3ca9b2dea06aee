/** For tests: the real client on a server in memory, without network and timers, with the types of your channels. */
import { createClient } from "./client.js";
import type { Client, ClientOptions } from "./options.js";
import type { Cursor } from "./core/frames.js";
import { membersOf } from "./members.js";
import { flush } from "./state.js";
import { type Connection, type ResetReason, Server } from "./testing/server.js";
import type { ChannelName, Gone, Member, Payload, PresenceName, RowsName } from "./types.js";

export type { ResetReason } from "./testing/server.js";

/** An event of any of your channels, with the payload of that channel; or the key of a row that leaves it. */
export type TestEvent = {
  readonly [C in ChannelName]:
    | { readonly channel: C; readonly payload: Payload<C> }
    | { readonly channel: C; readonly gone: Gone<C> };
}[ChannelName];

/** The result of a commit: a mutation returns the xid for `client.settled`, a load the cursor for `since`. */
export type Committed = { readonly xid: string; readonly cursor: Cursor };

export type TestRealtimeOptions = Pick<ClientOptions, "token" | "schema" | "onError"> & {
  /** Wraps each step: pass the `act` of your testing library, so that React has rendered when a call resolves. */
  readonly act?: (work: () => Promise<void>) => PromiseLike<unknown>;
};

/** A call resolves after all its consequences: handlers were called, and stores were updated. */
export type TestRealtime = {
  /** For `<RealtimeProvider client={…}>`, or for code that takes a client. */
  readonly client: Client;
  /** Commit one event. */
  readonly broadcast: <C extends ChannelName>(channel: C, payload: Payload<C>) => Promise<Committed>;
  /** Commit that a row left a channel: `onGone` is called with its key. */
  readonly gone: <C extends ChannelName>(channel: C, key: Gone<C>) => Promise<Committed>;
  /** Commit an event that cannot be delivered: `onSkipped` is called with the reason. */
  readonly skip: (channel: ChannelName, reason?: string) => Promise<Committed>;
  /**
   * Make these the rows of a channel, in one transaction: what differs from the rows before is sent, and a page that comes
   * later begins with all. `broadcast` and `gone` change single rows. `key`: the names of the key's fields, by default `id`.
   */
  readonly rows: <C extends RowsName>(channel: C, rows: readonly Payload<C>[], key?: readonly string[]) => Promise<Committed>;
  /**
   * Make these the members of a channel that is declared with presence: who is there now. A number: there are so many that the server
   * sends their number and no list.
   */
  readonly presence: <C extends PresenceName>(channel: C, members: readonly Member<C>[] | number) => Promise<Committed>;
  /** The channels on which the viewer of this page is present, sorted: those of `usePresence`. A test decides itself who is shown. */
  readonly presentOn: () => readonly string[];
  /** Commit several events in one transaction. */
  readonly commit: (events: readonly TestEvent[]) => Promise<Committed>;
  /** Broadcast an event of an ephemeral channel: only present subscribers receive it. */
  readonly broadcastEphemeral: <C extends ChannelName>(channel: C, payload: Payload<C>) => Promise<void>;
  /** Lose the connection, with an optional close code; the client stays disconnected until `reconnect`. */
  readonly disconnect: (code?: number) => Promise<void>;
  /** Connect and resume. */
  readonly reconnect: () => Promise<void>;
  /** Make replays from earlier cursors impossible: live subscriptions are reset now, others when they resume. */
  readonly reset: (reason?: ResetReason) => Promise<void>;
  /** Refuse a channel, also to its present subscribers. */
  readonly refuse: (channel: ChannelName, code?: string) => Promise<void>;
  /** Stop refusing a channel; takes effect with the next subscription or `reconnect`. */
  readonly allow: (channel: ChannelName) => void;
  /** Wait until all pending work is done: subscriptions are live, and loaded data is rendered. */
  readonly settle: () => Promise<void>;
  /** The current cursor of the log, for a load: `{ data, cursor: realtime.cursor() }`. */
  readonly cursor: () => Cursor;
  /** The subscribed channels, one entry per subscription, sorted. Empty after all components have unmounted. */
  readonly subscriptions: () => readonly ChannelName[];
  /** Close the client. */
  readonly close: () => void;
};

/** More than the longest chain of promises from a subscription to the rendering of its reply. */
const TURNS = 30;

export const createTestRealtime = (options: TestRealtimeOptions = {}): TestRealtime => {
  const { act = (work: () => Promise<void>) => work(), ...clientOptions } = options;
  const server = new Server(options.schema ?? "test");
  const client = createClient({ ...clientOptions, url: "ws://in.memory/realtime", WebSocket: socketsOf(server) });
  const tracked = track(client);

  const after = async <V>(work: () => V): Promise<V> => {
    const done: V[] = [];
    await act(async () => {
      await rest();
      done.push(work());
      await rest();
    });
    return done[0] as V; // `act` has awaited the work
  };

  return {
    client: tracked.client,
    broadcast: (channel, payload) => after(() => server.commit([{ channel, payload }])),
    gone: (channel, key) => after(() => server.commit([{ channel, gone: key }])),
    skip: (channel, reason = "payload_invalid") => after(() => server.commit([{ channel, skipped: { reason } }])),
    rows: (channel, rows, key) =>
      after(() => {
        if (key) server.keys.set(channel, key);
        return server.replace(channel, rows);
      }),
    presence: (channel, members) =>
      after(() => {
        const name = membersOf(channel);
        return typeof members === "number" ? server.count(name, members) : server.replace(name, members);
      }),
    presentOn: () => server.present().map((name) => name.replace(/_members(?=\.|$)/, "")),
    commit: (events) => after(() => server.commit(events)),
    broadcastEphemeral: (channel, payload) => after(() => server.broadcastEphemeral({ channel, payload })),
    disconnect: (code = 1006) =>
      after(() => {
        server.reachable = false;
        server.lose(code);
      }),
    reconnect: () =>
      after(() => {
        server.reachable = true;
        client.reconnect();
      }),
    reset: (reason = "expired") => after(() => server.reset(reason)),
    refuse: (channel, code = "forbidden") => after(() => server.refuse(channel, code)),
    allow: (channel) => void server.refusals.delete(channel),
    settle: () => after(() => undefined),
    cursor: () => server.cursor,
    subscriptions: tracked.subscriptions,
    close: tracked.client.close,
  };
};

/** Run pending promises, flush the states that wait for a frame, and run what follows. */
const rest = async () => {
  for (let published = 0; published < 2; published++) {
    for (let turn = 0; turn < TURNS; turn++) await Promise.resolve();
    flush();
  }
};

const track = (client: Client) => {
  const present = new Map<object, ChannelName>();
  const subscribe: Client["subscribe"] = (channel, handler, options) => {
    const key = {};
    const unsubscribe = client.subscribe(channel, handler, options);
    present.set(key, channel);
    return () => {
      present.delete(key);
      unsubscribe();
    };
  };
  const close = () => {
    present.clear();
    client.close();
  };
  return { client: { ...client, subscribe, close }, subscriptions: () => [...present.values()].sort() };
};

const socketsOf = (server: Server) =>
  class {
    onopen: ((event: never) => void) | null = null;
    onmessage: ((event: never) => void) | null = null;
    onclose: ((event: never) => void) | null = null;
    onerror: ((event: never) => void) | null = null;
    readonly #connection: Connection;

    constructor() {
      this.#connection = server.accept(this);
    }

    send(data: string) {
      this.#connection.received(data);
    }

    close() {
      this.#connection.closed();
    }
  };
