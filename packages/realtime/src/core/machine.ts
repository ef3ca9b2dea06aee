/**
 * The machine: what a client decides. Inputs are methods, time is an argument, news is returned as effects.
 *
 *   (dormant) --subscribe--> connecting --hello--> open --lost--> waiting --timer, wake--> connecting
 *                                any --final close code, close()--> stopped
 *
 * Each subscriber carries the cursor it stands at, so handlers of one channel may stand at different positions. While
 * the connection is open it also carries the `ref` of the answer it waits for, or LIVE. A group is kept until the
 * frame that closes it: a commit point gives it to all that are live, `subscribed` only to those whose replay it was.
 * Losing the connection at any point is therefore simple: drop the open group, ask again from each cursor held.
 */
import { missed, RealtimeError, stopped } from "./error.js";
import { type ClientFrame, type ClosingFrame, type Cursor, decode, type ErrorFrame, type EventFrame } from "./frames.js";
import { retryDelay } from "./retry.js";

export type Status = "connecting" | "open" | "waiting" | "stopped";

export type Connection = {
  /** "connecting" also before the first subscription. */
  readonly status: Status;
  /**
   * Open, all that was subscribed when it opened is answered, and the server has told its position within two
   * heartbeats. A later subscription does not make it false for the others; it has its own `onFresh`.
   */
  readonly fresh: boolean;
  /** When `status` became what it is, in milliseconds since 1970. */
  readonly since: number;
  /** Connections that failed since the last one that worked. */
  readonly attempts: number;
  /** The code the last connection was closed with; none after `close()`. */
  readonly code: number | undefined;
};

export type Subscriber = {
  readonly channel: string;
  /** Everything up to here has been delivered to it; without, it starts wherever the server is. */
  at: Cursor | undefined;
  /** IDLE, LIVE, REFUSED, GONE, or the number of the request it waits for. */
  ref: number;
  fresh: boolean;
};

export type Delivery<S> = readonly [subscriber: S, payload: unknown];

export type Effect<S, T> =
  /** Fetch a token, a new one if `renew`, and open a socket; then `opened` or `closed`. */
  | readonly ["connect", renew: boolean]
  | readonly ["send", frame: ClientFrame]
  /** Call `ask` when the calls under way are done, so that their subscriptions share a request. */
  | readonly ["soon"]
  /** Forget the socket; nothing it still says is an input. */
  | readonly ["close", code: number]
  /** Call `timer(key)` once after this time; replaces the timer of the same key. */
  | readonly ["timer", key: string, ms: number]
  /** Call the handlers, in this order, in one go. */
  | readonly ["apply", deliveries: readonly Delivery<S>[]]
  /** Tell a subscriber that events were missed (its error's code is the reason), or that its channel was refused. */
  | readonly ["reset" | "refused", subscriber: S, error: RealtimeError]
  | readonly ["fresh", subscriber: S, fresh: boolean]
  /** Delivered, or with an error given up. */
  | readonly ["settled", ticket: T, error?: RealtimeError]
  | readonly ["connection", connection: Connection]
  | readonly ["report", error: RealtimeError];

export type Limits = {
  /** How long a channel outlives its last handler, in milliseconds. */
  readonly linger: number;
  /** The hash of the declared channels that this client was built for. */
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
  /** By channel, the request without `since` that will make it live, or LIVE: a newcomer may share it. */
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
  let resumed = 0; // the last request of the resume
  let counted = 0; // events with an `id` on this connection
  let unsure = false; // cursors have moved on since `sent` last confirmed the count
  let position: Cursor | undefined;
  let heartbeat = 0;
  let heard = 0; // any frame
  let told = 0; // a frame that tells the position

  const emit = (...effect: Effect<S, T>) => effects.push(effect);

  /** Send one request for each cursor held by those that were not asked for yet. */
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
      emit("send", { subscribe: [...names], since, ref });
    }
  };

  const connect = () => {
    dormant = false;
    status = "connecting";
    emit("connect", renew);
    emit("timer", MAIN_TIMER, CONNECT_MS);
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
      emit("report", stopped(`the server closed for good (${code})`));
    } else {
      status = "waiting";
      emit("timer", MAIN_TIMER, hint + retryDelay(random, attempts++));
    }
    renew = expired;
    hint = 0;
  };

  const drop = (closeCode: number) => {
    emit("close", closeCode);
    lost(closeCode);
  };

  const deliver = (events: Iterable<EventFrame>, ref: number | undefined) => {
    const deliveries: Delivery<S>[] = [];
    for (const { channel, payload } of events)
      for (const s of subscribers) if (s.channel === channel && s.ref === ref) deliveries.push([s, payload]);
    emit("apply", deliveries);
  };

  const close = (frame: ClosingFrame, now: number) => {
    const { type, channels, cursor, n, sent = counted, ref = type === "subscribed" ? GONE : LIVE, reason } = frame;
    const events = group.splice(0);
    // Live events always come with a new position: with the last one, they are a group told twice.
    const again = ref === LIVE && n > 0 && cursor === position;
    if (events.length !== n || sent !== counted || again) {
      // What is missing may lie before what was applied since. Told now it would come after its successors.
      if (unsure && sent > counted)
        for (const s of subscribers) if (s.ref === LIVE) emit("reset", s, missed(s.channel, "lost"));
      drop(BAD_FRAME);
      return;
    }
    unsure = frame.sent === undefined && (unsure || (ref === LIVE && !reason));
    deliver(new Map(events.map((event) => [event.id, event])).values(), ref);
    position = cursor;
    for (const name of channels ?? []) if (shared.get(name) === ref) shared.set(name, LIVE);
    for (const s of subscribers)
      if (s.ref === ref && (!channels || channels.includes(s.channel))) {
        s.at = cursor;
        s.ref = LIVE;
        shared.set(s.channel, LIVE);
        if (reason) emit("reset", s, missed(s.channel, reason));
      }
    told = now;
    attempts = 0;
    renew = false;
  };

  const refuse = ({ code, message, channel, ref }: ErrorFrame) => {
    const error = new RealtimeError(code, message, channel);
    const asked = ref ?? (channel === undefined ? GONE : LIVE);
    let told = false;
    for (const s of subscribers)
      if (s.ref === asked && s.channel === (channel ?? s.channel)) {
        told = true;
        s.ref = REFUSED;
        emit("refused", s, error);
      }
    for (const [name, request] of shared)
      if (request === asked && name === (channel ?? name)) shared.delete(name);
    if (!told) emit("report", error);
  };

  const isTold = (now: number) => status === "open" && now - told < STALE * heartbeat;

  const watch = (now: number) => {
    const end = heard + SILENCE * heartbeat;
    if (now >= end) drop(NORMAL);
    else emit("timer", MAIN_TIMER, (isTold(now) ? told + STALE * heartbeat : end) - now);
  };

  /** Compare what is with what was last said about it, and hand out the effects. */
  const finish = (now: number) => {
    const current = isTold(now);
    let fresh = current;
    let answered = status === "open";
    for (const s of subscribers) {
      const caughtUp = current && s.ref === LIVE;
      if (caughtUp !== s.fresh) emit("fresh", s, (s.fresh = caughtUp));
      if (s.ref >= IDLE) answered = false;
      if (s.ref > IDLE && s.ref <= resumed) fresh = false;
    }
    for (const entry of settling) {
      if (status === "stopped") emit("settled", entry.ticket, stopped(`${entry.xid} was not delivered`));
      // A transaction is settled for live subscriptions only, so the question waits for the resume.
      else if (answered && !entry.asked) {
        entry.asked = true;
        emit("send", { settle: entry.xid });
      }
    }
    if (status === "stopped") settling = [];
    if (status !== connection.status || fresh !== connection.fresh || attempts !== connection.attempts) {
      const since = status === connection.status ? connection.since : now;
      emit("connection", (connection = { status, fresh, since, attempts, code }));
    }
    return effects.splice(0);
  };

  return {
    connection: () => connection,

    /** The last position heard of. */
    position: () => position,

    subscribe(s: S, now: number) {
      if (s.at === undefined) {
        s.ref = shared.get(s.channel) ?? IDLE;
        if (s.ref === LIVE) s.at = position;
      }
      subscribers.add(s);
      if (dormant) connect();
      else if (s.ref === IDLE) emit("soon");
      return finish(now);
    },

    ask(now: number) {
      if (status === "open") ask();
      return finish(now);
    },

    unsubscribe(s: S, now: number) {
      if (subscribers.delete(s)) emit("timer", s.channel, linger);
      s.ref = GONE;
      return finish(now);
    },

    settle(xid: string, ticket: T, now: number) {
      settling.push({ xid, ticket, asked: false });
      if (dormant) connect();
      return finish(now);
    },

    opened(token: string | undefined, now: number) {
      if (token !== undefined) emit("send", { auth: token });
      return finish(now);
    },

    received(message: unknown, now: number) {
      heard = now;
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
          told = now;
          position = frame.cursor;
          heartbeat = frame.heartbeat * 1000;
          counted = 0;
          unsure = false;
          if (schema !== undefined && schema !== frame.schema) {
            emit("report", new RealtimeError("schema", "the server declares other channels; generate the client again"));
            schema = undefined;
          }
          ask();
          resumed = lastRef;
          watch(now);
          break;
        case "settled": {
          // An entry that waits for a subscription is not answered by the answer to an earlier one.
          const { xid } = frame;
          for (const entry of settling) if (entry.asked && entry.xid === xid) emit("settled", entry.ticket);
          settling = settling.filter((entry) => !entry.asked || entry.xid !== xid);
          break;
        }
        case "error":
          refuse(frame);
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
        emit("send", { unsubscribe: [key] });
      }
      return finish(now);
    },

    /** The network, the page or the person is back: do not wait, and do not trust a silent connection. */
    wake(now: number) {
      if (status === "waiting") connect();
      else if (status === "open") {
        // Every position covers transaction 0, so this is answered at once.
        emit("send", { settle: "0" });
        emit("timer", MAIN_TIMER, PROBE_MS);
        heard = now + PROBE_MS - SILENCE * heartbeat;
      }
      return finish(now);
    },

    reconnect(now: number) {
      emit("close", NORMAL);
      forget();
      connect();
      return finish(now);
    },

    /** Forget everything; the next subscription begins anew. */
    close(now: number) {
      emit("close", NORMAL);
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
