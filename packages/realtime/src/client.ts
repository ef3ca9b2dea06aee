/** The client: one connection for the whole page; the machine decides, this carries it out. */
import type { RealtimeError } from "./core/error.js";
import type { Cursor } from "./core/frames.js";
import { type Connection, createMachine, type Effect, GONE, IDLE, type Subscriber } from "./core/machine.js";
import type { ChannelName, Payload, Unsubscribe } from "./types.js";

export type ClientOptions = {
  /** Where the server is; by default `/realtime` on the page's own host. `http` is read as `ws`. */
  readonly url?: string | URL;
  /** Called before every connection. `renew` is true after the server found the last token expired: fetch a new one. */
  readonly token?: (renew: boolean) => string | Promise<string>;
  /** The generated `schemaHash`; a server that declares other channels is reported once. */
  readonly schema?: string;
  /** Hears of everything that went wrong and has no handler of its own; by default `reportError`. */
  readonly onError?: (error: unknown) => void;
  /** The WebSocket class, where it is not a global (Node before 22). */
  readonly WebSocket?: new (url: string) => WebSocketLike;
  /** How long a channel outlives its last handler, in milliseconds. */
  readonly linger?: number;
};

/** As much of a WebSocket as the client uses. */
export type WebSocketLike = {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string): void;
  close(code?: number): void;
};

export type SubscribeOptions = {
  /** Begin after this position instead of wherever the server is: what came since is replayed first. */
  readonly since?: Cursor;
  /** Events were missed and cannot be told; `code` is the reason (`expired`, `rewound`, `lost`, …). Load the state again. */
  readonly onReset?: (error: RealtimeError) => void;
  /** The server refused the channel. */
  readonly onError?: (error: RealtimeError) => void;
  /** Whether this subscription is known to have everything, whenever that changes. */
  readonly onFresh?: (fresh: boolean) => void;
};

export type Client = {
  /** Hear every event of a channel; returns the function that ends it. Whole transactions arrive in one go. */
  readonly subscribe: <C extends ChannelName>(
    channel: C,
    handler: (payload: Payload<C>) => void,
    options?: SubscribeOptions,
  ) => Unsubscribe;
  /** Resolves when what a transaction wrote has reached all handlers; rejects when the client stops. */
  readonly settled: (xid: string | number | bigint) => Promise<void>;
  /** An external store: what `useSyncExternalStore` wants. */
  readonly connection: {
    readonly get: () => Connection;
    readonly subscribe: (listener: () => void) => () => void;
  };
  /** The last position heard of. */
  readonly position: () => Cursor | undefined;
  /** Connect anew, also after the client stopped; resumes from every cursor. */
  readonly reconnect: () => void;
  /** End everything and forget token, cursors and subscriptions: the person has left. */
  readonly close: () => void;
};

type Subscription = Subscriber & {
  readonly handler: (payload: unknown) => void;
  /** The caller's own object, read when it is needed: a hook may change the callbacks in it. */
  readonly options: SubscribeOptions;
};
const LINGER_MS = 1000;
const WAKE_UPS = ["online", "pageshow", "visibilitychange"];

/** Some or none of this is there: a page, a worker, Node. */
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
  let socket: WebSocketLike | undefined;
  let attempt = {}; // tells one attempt to connect from the next
  let fetching: Promise<string | undefined> | undefined;

  /** An exception in one handler stops neither the others nor the machine. */
  const call = <V,>(f: ((value: V) => void) | undefined, value: V) => {
    try {
      f?.(value);
    } catch (error) {
      if (f !== onError) call(onError, error);
    }
  };

  /** Once `unsubscribe` has returned, its subscriber hears nothing, also not of what was decided before. */
  const tell = <V,>(s: Subscription, f: ((value: V) => void) | undefined, value: V) => {
    if (s.ref !== GONE) call(f, value);
  };

  /** Effects are carried out in order, also those of calls that handlers make meanwhile. */
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
        for (const [s, payload] of effect[1]) tell(s, s.handler, payload);
        return;
      case "reset":
        return tell(effect[1], effect[1].options.onReset ?? onError, effect[2]);
      case "refused":
        return tell(effect[1], effect[1].options.onError ?? onError, effect[2]);
      case "fresh":
        return tell(effect[1], effect[1].options.onFresh, effect[2]);
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
      // One at a time: an attempt that was given up leaves its token to the next.
      const token = await (fetching ??= Promise.resolve(getToken?.(renew)));
      if (mine !== attempt) return;
      fetching = undefined;
      // Where no WebSocket comes through, one that can do without is worth its kilobytes, if they can be had.
      const able =
        !options.WebSocket && machine.connection().attempts > 1 ? await import("./fallback.js").catch(() => undefined) : undefined;
      const Socket = options.WebSocket ?? able?.FallbackSocket ?? WebSocket;
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
      // The payload's type is a promise: client and server are generated from one schema, compared at connect.
      const s: Subscription = { channel, handler, options, at: options.since, ref: IDLE, fresh: false };
      run(machine.subscribe(s, Date.now()));
      return () => run(machine.unsubscribe(s, Date.now()));
    },
    settled: (xid) =>
      new Promise((resolve, reject) => {
        const ticket = (error?: RealtimeError) => (error ? reject(error) : resolve());
        run(machine.settle(String(BigInt(xid)), ticket, Date.now()));
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

const address = (url: string | URL = "/realtime") => new URL(url, page.location?.href).href.replace(/^http/, "ws");
