/** The client: one connection for the whole page; carries out the effects of the machine. */
import { missed, type RealtimeError } from "./core/error.js";
import type { Cursor } from "./core/frames.js";
import { type Connection, createMachine, type Effect, GONE, IDLE, type Subscriber } from "./core/machine.js";
import type { ChannelName, Gone, Payload, Unsubscribe } from "./types.js";

export type ClientOptions = {
  /** The server's address; by default `/realtime` on the page's host. `http` is read as `ws`. */
  readonly url?: string | URL;
  /** Called before every connection. `renew` is true if the server reported the last token as expired: fetch a new one. */
  readonly token?: (renew: boolean) => string | Promise<string>;
  /** The generated `schemaHash`; a server with another hash is reported once. */
  readonly schema?: string;
  /** Called with every error that has no handler of its own; by default `reportError`. */
  readonly onError?: (error: unknown) => void;
  /** The WebSocket class, if it is not a global (Node before 22). */
  readonly WebSocket?: new (url: string) => WebSocketLike;
  /** How long a channel stays subscribed after its last handler, in milliseconds. */
  readonly linger?: number;
};

/** The part of a WebSocket that the client uses. */
export type WebSocketLike = {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string): void;
  close(code?: number): void;
};

export type SubscribeOptions<C extends ChannelName = ChannelName> = {
  /** Begin after this cursor instead of now: later events are replayed first. */
  readonly since?: Cursor;
  /** Events were missed and cannot be replayed; `code` is the reason (`expired`, `rewound`, `lost`, …). Load the state again. */
  readonly onReset?: (error: RealtimeError) => void;
  /** A row left the channel: it was deleted, or belongs to another channel of the family now. Called in the order of the events. */
  readonly onGone?: (key: Gone<C>) => void;
  /** One event cannot be delivered; `code` is the reason. Load the state again if it depends on that event. */
  readonly onSkipped?: (error: RealtimeError) => void;
  /** The server refused the channel. */
  readonly onError?: (error: RealtimeError) => void;
  /** Called whenever it changes whether this subscription is known to be up to date. */
  readonly onFresh?: (fresh: boolean) => void;
};

export type Client = {
  /** Subscribe to a channel; returns the function that unsubscribes. The events of a transaction arrive together. */
  readonly subscribe: <C extends ChannelName>(
    channel: C,
    handler: (payload: Payload<C>) => void,
    options?: SubscribeOptions<C>,
  ) => Unsubscribe;
  /** Resolves when all events of a transaction have reached the handlers; rejects when the client stops, or if `xid` is no transaction's. */
  readonly settled: (xid: string | number | bigint) => Promise<void>;
  /** An external store, for `useSyncExternalStore`. */
  readonly connection: {
    readonly get: () => Connection;
    readonly subscribe: (listener: () => void) => () => void;
  };
  /** The last cursor received. */
  readonly position: () => Cursor | undefined;
  /** Connect again, also after the client stopped; resumes from every cursor. */
  readonly reconnect: () => void;
  /** Disconnect and forget token, cursors and subscriptions: for a logout. */
  readonly close: () => void;
};

type Subscription = Subscriber & {
  readonly handler: (payload: unknown) => void;
  /** The caller's own object, read at each call: a hook may change its callbacks. */
  readonly options: SubscribeOptions;
};
const LINGER_MS = 1000;
const WAKE_UPS = ["online", "pageshow", "visibilitychange"];

/** The globals of a page, a worker or Node, each of which may be missing. */
const page: Partial<
  Pick<typeof globalThis, "addEventListener" | "removeEventListener" | "document" | "location" | "reportError">
> = globalThis;

type Ticket = (error?: RealtimeError) => void;

export const createClient = (options: ClientOptions = {}): Client => {
  const { token: getToken, onError = page.reportError ?? console.error, linger = LINGER_MS, schema } = options;
  const machine = createMachine<Subscription, Ticket>(Math.random, { linger, schema });
  const listeners = new Set<() => void>();
  const timers = new Map<string, ReturnType<typeof setTimeout>>();
  const queue: Effect<Subscription, Ticket>[] = [];
  let running = false;
  let reported = false;
  let socket: WebSocketLike | undefined;
  let attempt = {}; // the identity of the current attempt to connect
  let fetching: Promise<string | undefined> | undefined;

  /** An exception in one handler stops neither the others nor the machine. */
  const call = <V,>(f: ((value: V) => void) | undefined, value: V) => {
    try {
      f?.(value);
    } catch (error) {
      if (f !== onError) call(onError, error);
    }
  };

  /** After `unsubscribe` has returned, the subscriber is not called, not even for effects decided before. */
  const notify = <V,>(s: Subscription, f: ((value: V) => void) | undefined, value: V) => {
    if (s.ref !== GONE) call(f, value);
  };

  /** Skipped events may be many: the first one without a handler is enough for a developer to see. */
  const reportOnce = (error: RealtimeError) => {
    if (!reported) call(onError, error);
    reported = true;
  };

  /** Carry out effects in order, including those of calls that handlers make meanwhile. */
  const run = (effects: readonly Effect<Subscription, Ticket>[]) => {
    queue.push(...effects);
    if (running) return;
    running = true;
    for (let effect; (effect = queue.shift()); ) carryOut(effect);
    running = false;
  };

  const carryOut = (effect: Effect<Subscription, Ticket>): void => {
    switch (effect[0]) {
      case "connect":
        return void connect(effect[1]);
      case "send":
        return socket?.send(JSON.stringify(effect[1]));
      case "soon":
        return queueMicrotask(() => run(machine.ask(Date.now())));
      case "close":
        return disconnect(effect[1]);
      case "timer": {
        const [, key, ms] = effect;
        clearTimeout(timers.get(key));
        timers.set(
          key,
          setTimeout(() => run(machine.timer(key, Date.now())), ms),
        );
        return;
      }
      case "apply":
        for (const [s, [kind, value]] of effect[1])
          if (kind === "payload") notify(s, s.handler, value);
          else if (kind === "gone") notify(s, s.options.onGone, value as Gone<ChannelName>);
          else notify(s, s.options.onSkipped ?? reportOnce, missed(s.channel, String(value)));
        return;
      case "reset":
        return notify(effect[1], effect[1].options.onReset ?? onError, effect[2]);
      case "refused":
        return notify(effect[1], effect[1].options.onError ?? onError, effect[2]);
      case "fresh":
        return notify(effect[1], effect[1].options.onFresh, effect[2]);
      case "settled":
        return effect[1](effect[2]);
      case "connection":
        for (const listener of listeners) call(listener, undefined);
        return;
      case "report":
        return call(onError, effect[1]);
      default:
        return effect satisfies never;
    }
  };

  const connect = async (renew: boolean) => {
    const mine = (attempt = {});
    for (const type of WAKE_UPS) page.addEventListener?.(type, wake);
    try {
      // One fetch at a time: an aborted attempt leaves its token to the next.
      const token = await (fetching ??= Promise.resolve(getToken?.(renew)));
      if (mine !== attempt) return;
      fetching = undefined;
      // Loaded on demand, after two failed attempts: most pages never need its 2 KB.
      const fallback =
        !options.WebSocket && machine.connection().attempts > 1 ? await import("./fallback.js").catch(() => undefined) : undefined;
      const Socket = options.WebSocket ?? fallback?.FallbackSocket ?? WebSocket;
      if (mine !== attempt) return;
      const opened = (socket = new Socket(address(options.url)));
      opened.onopen = () => run(machine.opened(token, Date.now()));
      opened.onmessage = ({ data }: { data: unknown }) => run(machine.received(data, Date.now()));
      opened.onclose = ({ code }: { code: number }) => run(machine.closed(code, Date.now()));
      opened.onerror = () => undefined; // `close` follows, with the code
    } catch (error) {
      if (mine !== attempt) return;
      fetching = undefined;
      call(onError, error);
      run(machine.closed(0, Date.now()));
    }
  };

  const disconnect = (code: number) => {
    attempt = {};
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(code);
    socket = undefined;
  };

  const wake = () => {
    if (!page.document?.hidden) run(machine.wake(Date.now()));
  };

  return {
    subscribe: (channel, handler, options = {}) => {
      // The payload's type is unchecked here: client and server compare the schema hash when they connect.
      const s: Subscription = { channel, handler, options, at: options.since, ref: IDLE, fresh: false };
      run(machine.subscribe(s, Date.now()));
      return () => run(machine.unsubscribe(s, Date.now()));
    },
    settled: (xid) =>
      new Promise((resolve, reject) => {
        const ticket = (error?: RealtimeError) => (error ? reject(error) : resolve());
        run(machine.settle(transaction(xid), ticket, Date.now()));
      }),
    connection: {
      get: machine.connection,
      subscribe: (listener) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
    },
    position: machine.position,
    reconnect: () => run(machine.reconnect(Date.now())),
    close: () => {
      run(machine.close(Date.now()));
      for (const timer of timers.values()) clearTimeout(timer);
      for (const type of WAKE_UPS) page.removeEventListener?.(type, wake);
      fetching = undefined;
    },
  };
};

/** The text of a transaction's id; throws on what is none, which rejects the promise. */
const transaction = (xid: unknown) => {
  const id = BigInt(String(xid).trim() || NaN);
  if (id < 0n || id >> 63n) throw new RangeError(`${id} is not the id of a transaction`);
  return String(id);
};

const address = (url: string | URL = "/realtime") => new URL(url, page.location?.href).href.replace(/^http/, "ws");
