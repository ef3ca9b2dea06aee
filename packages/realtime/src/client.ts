/** The client: one connection for the whole page; carries out the effects of the machine. */
import { missed, RealtimeError } from "./core/error.js";
import type { Content, Cursor } from "./core/frames.js";
import { createDial, type Dialed, page, type WebSocketLike } from "./dial.js";
import { type Connection, createMachine, type Effect, GONE, IDLE, type Subscriber } from "./core/machine.js";
import type { ChannelName, Gone, Payload, State, Unsubscribe } from "./types.js";

type Token = string | null | undefined;

export type ClientOptions = {
  /** The server's address; by default `/realtime` on the page's host. `http` is read as `ws`. */
  readonly url?: string | URL;
  /**
   * Called before every connection, and again at 80 % of a token's time. `renew` is true if the last one was refused or expires soon: fetch a new one.
   * Within 20 s; an empty result is no token.
   */
  readonly token?: (renew: boolean) => Token | Promise<Token>;
  /** The generated `schemaHash`; a server with another hash is reported once. */
  readonly schema?: string;
  /** Called with every error that has no handler of its own; by default `reportError`. */
  readonly onError?: (error: unknown) => void;
  /** The WebSocket class, if it is not a global (Node before 22). */
  readonly WebSocket?: new (url: string) => WebSocketLike;
  /** How long a channel stays subscribed after its last handler, in milliseconds. */
  readonly linger?: number;
  /** How long a connection without any handler stays open, in milliseconds; by default 10 s. The next subscription opens another. */
  readonly idle?: number;
};

export type { WebSocketLike } from "./dial.js";

export type SubscribeOptions<C extends ChannelName = ChannelName> = {
  /** Begin after this cursor instead of now: later events are replayed first. */
  readonly since?: Cursor;
  /** Events were missed and cannot be replayed; `code` is the reason (`expired`, `rewound`, `lost`, …). Load the state again. */
  readonly onReset?: (error: RealtimeError) => void;
  /** A row left the channel: it was deleted, or belongs to another channel of the family now. Called in the order of the events. */
  readonly onGone?: (key: Gone<C>) => void;
  /**
   * For a channel of rows: begin with the rows that it has now. Called before the events that follow, and again instead of
   * `onReset`: replace what was.
   */
  readonly onRows?: (state: State<C>) => void;
  /** With `onRows`, for a channel of members: the viewer is present there while this subscription lasts. */
  readonly present?: boolean;
  /** Called once after all handlers of a group that has an event for this subscription; once for all that share the function. */
  readonly onGroup?: () => void;
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
  /** The application is in front again, or the network is back: connect without waiting, or check that the connection lives. Pages call it by themselves. */
  readonly wake: () => void;
  /** Connect again in any state, also after the client stopped; resumes from every cursor. */
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
const IDLE_MS = 10_000;
const LONGEST_TIMER = 2 ** 31 - 1; // a longer one fires at once
const WAKE_UPS = ["online", "pageshow", "visibilitychange"];

type Ticket = (error?: RealtimeError) => void;

export const createClient = (options: ClientOptions = {}): Client => {
  const { token: getToken, onError = page.reportError ?? console.error, linger = LINGER_MS, idle = IDLE_MS, schema } = options;
  const machine = createMachine<Subscription, Ticket>(Math.random, {
    ...{ linger, idle, schema, hasTokens: getToken !== undefined },
  });
  const dial = createDial(options.WebSocket);
  const listeners = new Set<() => void>();
  const timers = new Map<string, ReturnType<typeof setTimeout>>();
  const queue: Effect<Subscription, Ticket>[] = [];
  let running = false;
  let reported = false;
  let socket: Dialed | undefined;
  let attempt = {}; // the identity of the current attempt to connect

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
      case "renew":
        return void renew();
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
          setTimeout(() => run(machine.timer(key, Date.now())), Math.min(ms, LONGEST_TIMER)),
        );
        return;
      }
      case "apply":
        for (const [s, content] of effect[1]) receive(s, content);
        for (const f of new Set(effect[1].map(([s]) => s.ref !== GONE && s.options.onGroup))) if (f) call(f, undefined);
        return;
      case "reset":
      case "refused": {
        const [kind, s, error] = effect;
        return notify(s, (kind === "reset" ? s.options.onReset : s.options.onError) ?? onError, error);
      }
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

  const receive = (s: Subscription, [kind, value, key]: Content) => {
    const { options } = s;
    if (kind === "payload") notify(s, s.handler, value);
    else if (kind === "rows") notify(s, options.onRows, value as State<ChannelName>);
    else {
      const gone = kind === "gone" ? value : s.rows && key;
      if (gone) notify(s, options.onGone, gone as Gone<ChannelName>);
      if (kind === "skipped") notify(s, options.onSkipped ?? reportOnce, missed(s.channel, String(value)));
    }
  };

  const fetchToken = async (renew: boolean) => {
    const token: unknown = await getToken?.(renew);
    if (token == null || token === "") return undefined;
    if (typeof token !== "string") throw new TypeError(`token() returned ${typeof token}, not a string`);
    return token;
  };

  const connect = async (renew: boolean) => {
    const mine = (attempt = {});
    for (const type of WAKE_UPS) page.addEventListener?.(type, wake);
    let url;
    try {
      url = address(options.url);
    } catch (error) {
      run(machine.failed(String(error), Date.now()));
      return;
    }
    try {
      const token = await fetchToken(renew);
      if (mine !== attempt) return;
      run(machine.dialing(Date.now()));
      socket = dial(url, token, {
        opened: () => run(machine.opened(token, Date.now())),
        received: (data) => run(machine.received(data, Date.now())),
        reported: (message) => call(onError, new RealtimeError("stream_held", message)),
        closed: (code, reason) => run(machine.closed(code, Date.now(), reason)),
      });
    } catch (error) {
      if (mine !== attempt) return;
      call(onError, error);
      run(machine.closed(0, Date.now()));
    }
  };

  /** Replace the token of the open connection. Without a new one, the server ends it in time. */
  const renew = async () => {
    const mine = attempt;
    try {
      const token = await fetchToken(true);
      if (mine === attempt && token !== undefined) run(machine.renewed(token, Date.now()));
    } catch (error) {
      if (mine === attempt) call(onError, error);
    }
  };

  const disconnect = (code: number) => {
    attempt = {};
    socket?.close(code);
    socket = undefined;
  };

  const wake = () => {
    if (!page.document?.hidden) run(machine.wake(Date.now()));
  };

  return {
    subscribe: (channel, handler, options = {}) => {
      // The payload's type is unchecked here: client and server compare the schema hash when they connect.
      const s: Subscription = { channel, handler, options, rows: options.onRows && true, present: options.onRows && options.present ? true : undefined, at: options.since, ref: IDLE, fresh: false };
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
    wake: () => run(machine.wake(Date.now())),
    reconnect: () => run(machine.reconnect(Date.now())),
    close: () => {
      run(machine.close(Date.now()));
      for (const timer of timers.values()) clearTimeout(timer);
      for (const type of WAKE_UPS) page.removeEventListener?.(type, wake);
    },
  };
};

/** The text of a transaction's id; throws on what is none, which rejects the promise. */
const transaction = (xid: unknown) => {
  const id = BigInt(String(xid).trim() || NaN);
  if (id < 0n || id >> 63n) throw new RangeError(`${id} is not the id of a transaction`);
  return String(id);
};

/** The WebSocket's address. A worker made from a blob, or a frame with `srcdoc`, has its page's origin, but no address of its own. */
const address = (url: string | URL = "/realtime") => {
  let text = String(url);
  if (!/^\w+:/.test(text)) {
    const base = [page.location?.href, page.origin].find((one) => one?.startsWith("http"));
    if (base) text = new URL(text, base).href;
  }
  if (!/^(ws|http)s?:/i.test(text)) throw new TypeError(`${text} is no address of a WebSocket: createClient({ url: "wss://…" })`);
  return text.replace(/^http/i, "ws");
};
