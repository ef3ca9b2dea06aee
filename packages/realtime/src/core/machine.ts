/**
 * The machine: the client's state and decisions. Inputs are methods, time is an argument, and results are effects.
 *
 *   (dormant) --subscribe--> connecting --hello--> open --lost--> waiting --timer, wake--> connecting
 *                                any --final close code, close()--> stopped
 *
 * Each subscriber holds its own cursor, so handlers of one channel may be at different cursors. While the connection is
 * open, a subscriber also holds the `ref` of the reply that it waits for, or LIVE. A group is buffered until the frame
 * that closes it: a commit point delivers it to all live subscribers, `subscribed` only to those of that replay. So
 * after a lost connection the client drops the open group and subscribes again from each cursor.
 */
import { missed, RealtimeError, stopped } from "./error.js";
import { type ClientFrame, type ClosingFrame, type Content, type Cursor, decode, type ErrorFrame, type EventFrame } from "./frames.js";
import { retryDelay } from "./retry.js";

export type Status = "connecting" | "open" | "waiting" | "stopped";

export type Connection = {
  /** "connecting" before the first subscription too. */
  readonly status: Status;
  /**
   * Whether the connection is open, all subscriptions from the time it opened are answered, and a frame with a cursor
   * arrived within two heartbeats. A later subscription does not make it false; it has its own `onFresh`.
   */
  readonly fresh: boolean;
  /** The time of the last change of `status`, in milliseconds since 1970. */
  readonly since: number;
  /** The number of failed connections since the last one that worked. */
  readonly attempts: number;
  /** The close code of the last connection; undefined after `close()`. */
  readonly code: number | undefined;
};

export type Subscriber = {
  readonly channel: string;
  /** All events up to here have been delivered to it; undefined starts at the server's current cursor. */
  at: Cursor | undefined;
  /** IDLE, LIVE, REFUSED, GONE, or the `ref` of the request that it waits for. */
  ref: number;
  fresh: boolean;
};

export type Delivery<S> = readonly [subscriber: S, content: Content];

export type Effect<S, T> =
  /** Fetch a token, a new one if `renew`, and open a socket; then `opened` or `closed`. */
  | readonly ["connect", renew: boolean]
  | readonly ["send", frame: ClientFrame]
  /** Call `ask` after the current calls, so that their subscriptions share a request. */
  | readonly ["soon"]
  /** Close the socket and ignore its further messages. */
  | readonly ["close", code: number]
  /** Call `timer(key)` once after this time; replaces the timer of the same key. */
  | readonly ["timer", key: string, ms: number]
  /** Call the handlers, in this order, synchronously. */
  | readonly ["apply", deliveries: readonly Delivery<S>[]]
  /** Notify a subscriber that events were missed (the error's code is the reason), or that its channel was refused. */
  | readonly ["reset" | "refused", subscriber: S, error: RealtimeError]
  | readonly ["fresh", subscriber: S, fresh: boolean]
  /** A transaction was delivered, or with `error` given up. */
  | readonly ["settled", ticket: T, error?: RealtimeError]
  | readonly ["connection", connection: Connection]
  | readonly ["report", error: RealtimeError];

export type Limits = {
  /** How long a channel stays subscribed after its last handler, in milliseconds. */
  readonly linger: number;
  /** The schema hash that this client was generated for. */
  readonly schema?: string | undefined;
};

export const IDLE = 0;
export const GONE = -1;
const LIVE = -2;
const REFUSED = -3;

const MAIN_TIMER = "";
const CONNECT_MS = 10_000;
const PROBE_MS = 5_000;
const STALE = 2; // heartbeats
const SILENCE = 2.5; // heartbeats
const NORMAL = 1000;
const BAD_FRAME = 4002;
const TOKEN_EXPIRED = 4401;
const FIRST_FINAL = 4500;

type Settling<T> = { readonly xid: string; readonly ticket: T; asked: boolean };

export const createMachine = <S extends Subscriber, T>(random: () => number, { linger, schema }: Limits) => {
  const subscribers = new Set<S>();
  /** By channel, the request without `since` that will make it live, or LIVE: a new subscriber may share it. */
  const shared = new Map<string, number>();
  let settling: Settling<T>[] = [];
  const effects: Effect<S, T>[] = [];
  const group: EventFrame[] = [];
  let connection: Connection = { status: "connecting", fresh: false, since: 0, attempts: 0, code: undefined };
  let status: Status = connection.status;
  let dormant = true;
  let attempts = 0;
  let code: number | undefined;
  let renew = false;
  let hint = 0;
  let lastRef = 0;
  let resumed = 0; // the `ref` of the last request of the resume
  let counted = 0; // event frames with an `id` on this connection
  let unsure = false; // the cursor has advanced since `sent` last confirmed the count
  let position: Cursor | undefined;
  let heartbeat = 0;
  let receivedAt = 0; // time of the last frame
  let cursorAt = 0; // time of the last frame with a cursor

  const push = (...effect: Effect<S, T>) => effects.push(effect);

  /** Send one request for each cursor of the subscribers without a request. */
  const ask = () => {
    const idle = [...subscribers].filter((s) => s.ref === IDLE);
    for (const since of new Set(idle.map((s) => s.at))) {
      const ref = ++lastRef;
      const names = new Set<string>();
      for (const s of idle)
        if (s.at === since) {
          s.ref = ref;
          names.add(s.channel);
          if (since === undefined) shared.set(s.channel, ref);
        }
      push("send", { subscribe: [...names], since, ref });
    }
  };

  const connect = () => {
    dormant = false;
    status = "connecting";
    push("connect", renew);
    push("timer", MAIN_TIMER, CONNECT_MS);
  };

  const forget = () => {
    group.length = 0;
    shared.clear();
    for (const s of subscribers) s.ref = IDLE;
    for (const entry of settling) entry.asked = false;
  };

  const lost = (closeCode: number) => {
    forget();
    code = closeCode;
    const expired = code === TOKEN_EXPIRED;
    if (code >= FIRST_FINAL || (expired && renew)) {
      status = "stopped";
      push("report", stopped(`the server closed for good (${code})`));
    } else {
      status = "waiting";
      push("timer", MAIN_TIMER, hint + retryDelay(random, attempts++));
    }
    renew = expired;
    hint = 0;
  };

  const drop = (closeCode: number) => {
    push("close", closeCode);
    lost(closeCode);
  };

  const deliver = (events: Iterable<EventFrame>, ref: number | undefined) => {
    const deliveries: Delivery<S>[] = [];
    for (const { channel, content } of events)
      for (const s of subscribers) if (content && s.channel === channel && s.ref === ref) deliveries.push([s, content]);
    push("apply", deliveries);
  };

  const close = (frame: ClosingFrame, now: number) => {
    const { type, channels, cursor, n, sent = counted, ref = type === "subscribed" ? GONE : LIVE, reason } = frame;
    const events = group.splice(0);
    // Live events always come with a new cursor: with the last one, they are a repeated group.
    const again = ref === LIVE && n > 0 && cursor === position;
    if (events.length !== n || sent !== counted || again) {
      // The missing events may be older than delivered ones: a replay could deliver them out of order.
      if (unsure && sent > counted)
        for (const s of subscribers) if (s.ref === LIVE) push("reset", s, missed(s.channel, "lost"));
      drop(BAD_FRAME);
      return;
    }
    unsure = frame.sent === undefined && (unsure || (ref === LIVE && !reason));
    // An event that was skipped for a family has one id on all of its channels.
    deliver(new Map(events.map((event) => [`${event.id} ${event.channel}`, event])).values(), ref);
    position = cursor;
    for (const name of channels ?? []) if (shared.get(name) === ref) shared.set(name, LIVE);
    for (const s of subscribers)
      if (s.ref === ref && (!channels || channels.includes(s.channel))) {
        s.at = cursor;
        s.ref = LIVE;
        shared.set(s.channel, LIVE);
        if (reason) push("reset", s, missed(s.channel, reason));
      }
    cursorAt = now;
    attempts = 0;
    renew = false;
  };

  const refuse = ({ code, message, ref }: ErrorFrame, channel?: string) => {
    const error = new RealtimeError(code, message, channel);
    const asked = ref ?? (channel === undefined ? GONE : LIVE);
    let notified = false;
    for (const s of subscribers)
      if (s.ref === asked && s.channel === (channel ?? s.channel)) {
        notified = true;
        s.ref = REFUSED;
        push("refused", s, error);
      }
    for (const [name, request] of shared)
      if (request === asked && name === (channel ?? name)) shared.delete(name);
    if (!notified) push("report", error);
  };

  const isCurrent = (now: number) => status === "open" && now - cursorAt < STALE * heartbeat;

  const watch = (now: number) => {
    const end = receivedAt + SILENCE * heartbeat;
    if (now >= end) drop(NORMAL);
    else push("timer", MAIN_TIMER, (isCurrent(now) ? cursorAt + STALE * heartbeat : end) - now);
  };

  /** Report what has changed since the last call, and return the effects. */
  const finish = (now: number) => {
    const current = isCurrent(now);
    let fresh = current;
    let answered = status === "open";
    for (const s of subscribers) {
      const caughtUp = current && s.ref === LIVE;
      if (caughtUp !== s.fresh) push("fresh", s, (s.fresh = caughtUp));
      if (s.ref >= IDLE) answered = false;
      if (s.ref > IDLE && s.ref <= resumed) fresh = false;
    }
    for (const entry of settling) {
      if (status === "stopped") push("settled", entry.ticket, stopped(`${entry.xid} was not delivered`));
      // A transaction is settled for live subscriptions only, so the request waits for the resume.
      else if (answered && !entry.asked) {
        entry.asked = true;
        push("send", { settle: entry.xid });
      }
    }
    if (status === "stopped") settling = [];
    if (status !== connection.status || fresh !== connection.fresh || attempts !== connection.attempts) {
      const since = status === connection.status ? connection.since : now;
      push("connection", (connection = { status, fresh, since, attempts, code }));
    }
    return effects.splice(0);
  };

  return {
    connection: () => connection,

    /** The last cursor received. */
    position: () => position,

    subscribe(s: S, now: number) {
      if (s.at === undefined) {
        s.ref = shared.get(s.channel) ?? IDLE;
        if (s.ref === LIVE) s.at = position;
      }
      subscribers.add(s);
      if (dormant) connect();
      else if (s.ref === IDLE) push("soon");
      return finish(now);
    },

    ask(now: number) {
      if (status === "open") ask();
      return finish(now);
    },

    unsubscribe(s: S, now: number) {
      if (subscribers.delete(s)) push("timer", s.channel, linger);
      s.ref = GONE;
      return finish(now);
    },

    settle(xid: string, ticket: T, now: number) {
      settling.push({ xid, ticket, asked: false });
      if (dormant) connect();
      return finish(now);
    },

    opened(token: string | undefined, now: number) {
      if (token !== undefined) push("send", { auth: token });
      return finish(now);
    },

    received(message: unknown, now: number) {
      receivedAt = now;
      let frame;
      try {
        frame = decode(message);
      } catch {
        drop(BAD_FRAME);
        return finish(now);
      }
      switch (frame?.type) {
        case undefined:
          break;
        case "event":
          if (frame.id !== undefined) {
            group.push(frame);
            counted += 1;
            return [];
          }
          deliver([frame], LIVE);
          break;
        case "cursor":
        case "subscribed":
        case "reset":
          close(frame, now);
          break;
        case "hello":
          status = "open";
          cursorAt = now;
          position = frame.cursor;
          heartbeat = frame.heartbeat * 1000;
          counted = 0;
          unsure = false;
          if (schema !== undefined && schema !== frame.schema) {
            push("report", new RealtimeError("schema", "the server declares other channels; generate the client again"));
            schema = undefined;
          }
          ask();
          resumed = lastRef;
          watch(now);
          break;
        case "settled": {
          // A reply settles only the entries whose request was sent, not later ones of the same transaction.
          const { xid } = frame;
          for (const entry of settling) if (entry.asked && entry.xid === xid) push("settled", entry.ticket);
          settling = settling.filter((entry) => !entry.asked || entry.xid !== xid);
          break;
        }
        case "error":
          for (const channel of frame.channels ?? [undefined]) refuse(frame, channel);
          break;
        case "bye":
          hint = frame.after;
          break;
        default:
          return frame satisfies never;
      }
      return finish(now);
    },

    closed(closeCode: number, now: number) {
      lost(closeCode);
      return finish(now);
    },

    timer(key: string, now: number) {
      if (key === MAIN_TIMER) {
        if (status === "waiting") connect();
        else if (status === "connecting") drop(NORMAL);
        else if (status === "open") watch(now);
      } else if (status === "open" && ![...subscribers].some((s) => s.channel === key)) {
        shared.delete(key);
        push("send", { unsubscribe: [key] });
      }
      return finish(now);
    },

    /** The network, the page or the user is back: reconnect at once, and probe a silent connection. */
    wake(now: number) {
      if (status === "waiting") connect();
      else if (status === "open") {
        // Every cursor covers transaction 0, so the server replies at once.
        push("send", { settle: "0" });
        push("timer", MAIN_TIMER, PROBE_MS);
        receivedAt = now + PROBE_MS - SILENCE * heartbeat;
      }
      return finish(now);
    },

    reconnect(now: number) {
      push("close", NORMAL);
      forget();
      connect();
      return finish(now);
    },

    /** Reset all state; the next subscription starts from the beginning. */
    close(now: number) {
      push("close", NORMAL);
      forget();
      status = "stopped";
      dormant = true;
      position = code = undefined;
      attempts = 0;
      renew = false;
      const done = finish(now);
      for (const s of subscribers) s.ref = GONE;
      subscribers.clear();
      return done;
    },
  };
};
