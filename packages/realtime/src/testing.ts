/** For tests: the real client on a server in memory. No network, no timer to wait for, the types of your channels. */
import { type Client, type ClientOptions, createClient } from "./client.js";
import type { Cursor } from "./core/frames.js";
import { flush } from "./state.js";
import { type Connection, type ResetReason, Server } from "./testing/server.js";
import type { ChannelName, Payload } from "./types.js";

export type { ResetReason } from "./testing/server.js";

/** An event of any of your channels, each with the payload of its own. */
export type TestEvent = {
  readonly [C in ChannelName]: { readonly channel: C; readonly payload: Payload<C> };
}[ChannelName];

/** What a mutation answers with, for `client.settled`, and a load, for `since`. */
export type Committed = { readonly xid: string; readonly cursor: Cursor };

export type TestRealtimeOptions = Pick<ClientOptions, "token" | "schema" | "onError"> & {
  /** Wraps whatever happens: give the `act` of your testing library, so that React has rendered when a call resolves. */
  readonly act?: (work: () => Promise<void>) => PromiseLike<unknown>;
};

/** A call resolves when all that follows from it has happened: handlers were called, stores were published. */
export type TestRealtime = {
  /** For `<RealtimeProvider client={…}>`, or wherever your code takes its client from. */
  readonly client: Client;
  /** Commit one event. */
  readonly emit: <C extends ChannelName>(channel: C, payload: Payload<C>) => Promise<Committed>;
  /** Commit several events in one transaction. */
  readonly commit: (events: readonly TestEvent[]) => Promise<Committed>;
  /** State an event of an ephemeral channel: whoever is not there misses it. */
  readonly announce: <C extends ChannelName>(channel: C, payload: Payload<C>) => Promise<void>;
  /** Lose the connection, with a close code if you like; until `reconnect` there is no other. */
  readonly disconnect: (code?: number) => Promise<void>;
  /** Connect and resume. */
  readonly reconnect: () => Promise<void>;
  /** What came before cannot be told any more: who is live hears it now, who comes back later hears it then. */
  readonly reset: (reason?: ResetReason) => Promise<void>;
  /** Refuse a channel, also to those who are on it. */
  readonly refuse: (channel: ChannelName, code?: string) => Promise<void>;
  /** Refuse it no longer: heard of with the next subscription or `reconnect`. */
  readonly allow: (channel: ChannelName) => void;
  /** Let everything that was begun end: subscriptions are live, what was loaded is shown. */
  readonly settle: () => Promise<void>;
  /** Where the log ends now, for a load: `{ data, cursor: realtime.cursor() }`. */
  readonly cursor: () => Cursor;
  /** The channels that somebody hears, once for each subscription, sorted. Empty after everything has unmounted. */
  readonly subscriptions: () => readonly ChannelName[];
  /** End the client. */
  readonly close: () => void;
};

/** More than the longest chain of promises from a subscription to its answer and what is made of it. */
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
    emit: (channel, payload) => after(() => server.commit([{ channel, payload }])),
    commit: (events) => after(() => server.commit(events)),
    announce: (channel, payload) => after(() => server.announce({ channel, payload })),
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

/** Let promises run, publish what waits for a frame, and let run what follows from that. */
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
