/** The client: one connection for the whole page; carries out the effects of the machine. */
import { missed, RealtimeError } from "./core/error.js";
import { address, createDial, type Dialed, page } from "./dial.js";
import { createMachine, type Delivery, type Effect, GONE, IDLE, type Subscriber } from "./core/machine.js";
import { transaction } from "./core/names.js";
import type { Client, ClientOptions, SubscribeOptions } from "./options.js";
import type { ChannelName, Gone, State } from "./types.js";

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
  const limits = { linger, idle, schema, hasTokens: getToken !== undefined };
  const machine = createMachine<Subscription, Ticket>(Math.random, limits);
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

  /** Carry out what the machine decides, in order, with what calls of handlers make it decide meanwhile. */
  const run = (decide: (now: number) => readonly Effect<Subscription, Ticket>[]) => {
    queue.push(...decide(Date.now()));
    if (running) return;
    running = true;
    for (let effect; (effect = queue.shift()); ) carryOut(effect);
    running = false;
  };

  const carryOut = ([kind, subject, detail]: Effect<Subscription, Ticket>): void => {
    switch (kind) {
      case "connect":
        return connect(subject);
      case "renew":
        return void fetchToken(true, (token) => token && run((now) => machine.renewed(token, now)));
      case "send":
        return socket?.send(JSON.stringify(subject));
      case "soon":
        return queueMicrotask(() => run(machine.ask));
      case "close":
        return disconnect(subject);
      case "timer":
        clearTimeout(timers.get(subject));
        timers.set(
          subject,
          setTimeout(() => run((now) => machine.timer(subject, now)), Math.min(detail, LONGEST_TIMER)),
        );
        return;
      case "apply":
        return apply(subject);
      case "reset":
      case "refused":
        return notify(subject, (kind === "reset" ? subject.options.onReset : subject.options.onError) ?? onError, detail);
      case "fresh":
        return notify(subject, subject.options.onFresh, detail);
      case "settled":
        return subject(detail);
      case "connection":
        for (const listener of listeners) call(listener, undefined);
        return;
      case "report":
        return call(onError, subject);
      default:
        return kind satisfies never;
    }
  };

  const apply = (deliveries: readonly Delivery<Subscription>[]) => {
    for (const [[kind, value, key], to] of deliveries)
      for (const s of to) {
        const { options } = s;
        if (kind === "payload") notify(s, s.handler, value);
        else if (kind === "rows") notify(s, options.onRows, value as State<ChannelName>);
        else {
          const gone = kind === "gone" ? value : s.rows && key;
          if (gone) notify(s, options.onGone, gone as Gone<ChannelName>);
          if (kind === "skipped") notify(s, options.onSkipped ?? reportOnce, missed(s.channel, String(value)));
        }
      }
    const reached = [...new Set(deliveries.map(([, to]) => to))].flat();
    for (const f of new Set(reached.map((s) => s.ref !== GONE && s.options.onGroup))) if (f) call(f, undefined);
  };

  /** Fetch a token and use it, unless another attempt to connect has begun meanwhile. */
  const fetchToken = async (renew: boolean, then: (token: string | undefined) => void, failed?: () => void) => {
    const mine = attempt;
    try {
      const token: unknown = (await getToken?.(renew)) ?? "";
      if (typeof token !== "string") throw new TypeError(`token() returned ${typeof token}, not a string`);
      if (mine === attempt) then(token || undefined);
    } catch (error) {
      if (mine !== attempt) return;
      call(onError, error);
      failed?.();
    }
  };

  const connect = (renew: boolean) => {
    attempt = {};
    for (const type of WAKE_UPS) page.addEventListener?.(type, wake);
    let url: string;
    try {
      url = address(options.url);
    } catch (error) {
      run((now) => machine.failed(String(error), now));
      return;
    }
    const dialWith = (token: string | undefined) => {
      run(machine.dialing);
      socket = dial(url, token, {
        opened: () => run((now) => machine.opened(token, now)),
        received: ({ data }) => run((now) => machine.received(data, now)),
        reported: (message) => call(onError, new RealtimeError("stream_held", message)),
        closed: (code, reason) => run((now) => machine.closed(code, now, reason)),
      });
    };
    void fetchToken(renew, dialWith, () => run((now) => machine.closed(0, now)));
  };

  const disconnect = (code: number) => {
    attempt = {};
    socket?.close(code);
    socket = undefined;
  };

  const wake = () => {
    if (!page.document?.hidden) run(machine.wake);
  };

  return {
    subscribe: (channel, handler, options = {}) => {
      // The payload's type is unchecked here: client and server compare the schema hash when they connect.
      const s: Subscription = { channel, handler, options, rows: options.onRows && true, present: options.onRows && options.present ? true : undefined, at: options.since, ref: IDLE, fresh: false };
      run((now) => machine.subscribe(s, now));
      return () => run((now) => machine.unsubscribe(s, now));
    },
    settled: (xid) =>
      new Promise((resolve, reject) => {
        const ticket = (error?: RealtimeError) => (error ? reject(error) : resolve());
        run((now) => machine.settle(transaction(xid), ticket, now));
      }),
    connection: {
      get: machine.connection,
      subscribe: (listener) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
    },
    position: machine.position,
    wake: () => run(machine.wake),
    reconnect: () => run(machine.reconnect),
    close: () => {
      run(machine.close);
      timers.forEach(clearTimeout);
      for (const type of WAKE_UPS) page.removeEventListener?.(type, wake);
    },
  };
};
