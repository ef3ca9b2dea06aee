/**
 * The machine: the client's state and decisions. Inputs are methods, time is an argument, and results are effects.
 *
 *   (dormant) --subscribe--> connecting --hello--> open --lost--> waiting --timer, wake--> connecting
 *                                any --final close code, close()--> stopped
 *
 * Each subscriber holds its own cursor, so handlers of one channel may be at different cursors. After a lost connection
 * the client drops the open group and subscribes again from each cursor.
 */
import { BAD_FRAME, createVerdicts } from "./closing.js";
import { type Connection, type Effect, IDLE_TIMER, type Limits, MAIN_TIMER, RENEW_TIMER, type Status } from "./effects.js";
import { missed, RealtimeError, stopped } from "./error.js";
import { type ClosingFrame, type Cursor, decode, type EventFrame, type RowsFrame, type ServerFrame } from "./frames.js";
import { deliver, eventsOf, IDLE, LIVE, type Subscriber, waiting } from "./groups.js";
import { createRequests } from "./requests.js";
import { retryDelay } from "./retry.js";
import { createSettling } from "./settling.js";

export type { Connection, Delivery, Effect, Limits, Status } from "./effects.js";
export { GONE, IDLE, type Subscriber } from "./groups.js";

const TOKEN_SECONDS = 20;
const RENEW_AT = 0.8; // of the time until the token expires
const RENEW_AGAIN = 0.1;
const RENEW_MS = 1_000; // at least
const CONNECT_MS = 10_000;
const PROBE_MS = 5_000;
const HUNG_MS = 2_000; // an attempt that is older has probably begun on a network that is gone
const STALE = 2; // heartbeats
const SILENCE = 2.5; // heartbeats
const NORMAL = 1000;

export const createMachine = <S extends Subscriber, T>(
  random: () => number,
  { linger, schema, idle, hasTokens = false }: Limits,
) => {
  const effects: Effect<S, T>[] = [];
  const push = (...effect: Effect<S, T>) => effects.push(effect);
  const subscribers = new Set<S>();
  const settling = createSettling<T>();
  const requests = createRequests<S, T>(subscribers, settling, push, random, linger);
  const verdicts = createVerdicts(hasTokens);
  /** The events of a group that is not closed, and the rows of a state that is not complete. */
  let held: (EventFrame | RowsFrame)[] = [];
  let counted = 0; // event frames with an `id` on this connection, in closed groups
  let unsure = false; // the cursor has advanced since `sent` last confirmed the count
  let position: Cursor | undefined;
  let connection: Connection = { status: "connecting", fresh: false, since: 0, attempts: 0, code: undefined };
  let status: Status = "connecting";
  let dormant = true;
  let attempts = 0;
  let code: number | undefined;
  let isFetching = true; // the token of the next connection: no socket has been asked for
  let isUnused = false; // no handler, and no transaction to wait for
  let expires = 0; // milliseconds that the last token had when it was accepted
  let hint = 0;
  let resumed = 0; // the `ref` of the last request of the resume
  let heartbeat = 0;
  let receivedAt = 0; // time of the last frame, or of the attempt to connect
  let cursorAt = 0; // time of the last frame with a cursor

  const connect = () => {
    dormant = false;
    status = "connecting";
    isFetching = true;
    push("connect", verdicts.renews());
    push("timer", MAIN_TIMER, TOKEN_SECONDS * 1000);
  };

  const forget = (closeCode?: number) => {
    settling.forget();
    return requests.forget(closeCode);
  };

  const stop = (what: string) => {
    status = "stopped";
    push("report", stopped(what));
  };

  const lost = (closeCode: number, reason?: string) => {
    code = closeCode;
    const [final, patience, report] = verdicts.closed(code, forget(code), reason);
    if (report) push("report", report);
    if (final === undefined) {
      status = "waiting";
      push("timer", MAIN_TIMER, hint + retryDelay(random, attempts++) * patience);
    } else stop(final);
    hint = 0;
  };

  const drop = (closeCode: number, reason?: string) => {
    push("close", closeCode);
    lost(closeCode, reason);
  };

  const works = () => {
    attempts = 0;
    verdicts.works();
  };

  /** Events were missed. Rows are read again; what is shown stays until then. */
  const miss = (s: S, reason: string) => {
    if (s.rows) {
      s.at = undefined;
      s.ref = IDLE;
      push("soon");
    } else push("reset", s, missed(s.channel, reason));
  };

  /** Deliver a group to the subscribers that it is for, which are then at its cursor. */
  const close = (frame: ClosingFrame, now: number) => {
    const { type, channels, cursor, n, ref = LIVE, reason } = frame;
    const total = counted + n;
    const { sent = total } = frame;
    const events = eventsOf(held, frame);
    // Live events always come with a new cursor: with the last one, they are a repeated group. Without a `ref`,
    // `subscribed` brings what was held back while the server asked whether the viewer may still have it.
    const again = type === "cursor" && n > 0 && cursor === position;
    if (!events || sent !== total || again) {
      // The missing events may be older than delivered ones: a replay could deliver them out of order.
      if (unsure && sent > total) for (const s of waiting(subscribers, LIVE)) miss(s, "lost");
      drop(BAD_FRAME, "events are missing");
      return;
    }
    held = [];
    counted = total;
    unsure = frame.sent === undefined && (unsure || (ref === LIVE && !reason));
    position = cursor;
    cursorAt = now;
    attempts = 0;
    const to = waiting(subscribers, ref);
    push("apply", deliver(events, to));
    const answered = to.filter((s) => !channels || channels.includes(s.channel));
    for (const s of answered) {
      s.at = cursor;
      s.ref = LIVE;
      if (reason) miss(s, reason);
    }
    // Not a commit point: a heartbeat may come before the token is checked, and events only to those who were answered.
    if (type === "cursor") return;
    requests.answered(channels ?? [], ref, answered);
    works();
  };

  const isCurrent = (now: number) => status === "open" && now - cursorAt < STALE * heartbeat;

  const watch = (now: number) => {
    const end = receivedAt + SILENCE * heartbeat;
    // A clock that was set back would hide a dead connection.
    if (now >= end || now < receivedAt) drop(NORMAL);
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
      answered &&= s.ref < IDLE;
      fresh &&= s.ref <= IDLE || s.ref > resumed;
    }
    if (status === "stopped")
      for (const { xid, ticket } of settling.clear()) push("settled", ticket, stopped(`${xid} was not delivered`));
    // A transaction is settled for live subscriptions only, so the request waits for the resume.
    else if (answered && settling.entries.length) for (const settle of settling.ask()) push("send", { settle });
    const unused = !subscribers.size && !settling.entries.length;
    if (unused && !isUnused && !dormant && idle !== undefined) push("timer", IDLE_TIMER, idle);
    isUnused = unused;
    const isSame = status === connection.status;
    if (!isSame || fresh !== connection.fresh || attempts !== connection.attempts)
      push("connection", (connection = { status, fresh, since: isSame ? connection.since : now, attempts, code }));
    return effects.splice(0);
  };

  /** Process a frame. Returns whether it only waits for the end of its group. */
  const take = (frame: ServerFrame, now: number): boolean => {
    switch (frame.type) {
      case "event":
      case "rows":
        if (frame.type === "rows" || frame.id !== undefined) return held.push(frame) > 0;
        push("apply", deliver([frame], waiting(subscribers, LIVE)));
        break;
      case "cursor":
      case "subscribed":
      case "reset":
        close(frame, now);
        break;
      case "hello":
        status = "open";
        cursorAt = now;
        heartbeat = frame.heartbeat * 1000;
        held = [];
        counted = 0;
        unsure = false;
        position = frame.cursor;
        if (schema !== undefined && schema !== frame.schema) {
          push("report", new RealtimeError("schema", "the server declares other channels; generate the client again"));
          schema = undefined;
        }
        resumed = requests.ask(now, true);
        watch(now);
        break;
      case "settled":
        for (const { ticket } of settling.settle(frame.xid)) push("settled", ticket);
        break;
      case "authenticated":
        works();
        if (frame.expires === undefined) break;
        expires = frame.expires;
        push("timer", RENEW_TIMER, Math.max(RENEW_MS, expires * RENEW_AT));
        break;
      case "error":
        for (const channel of frame.channels ?? [undefined]) requests.refuse(frame, channel);
        break;
      case "bye":
        hint = frame.after;
        break;
      default:
        frame satisfies never;
    }
    return false;
  };

  /** The token is there, and a socket opens. */
  const dialing = (now: number) => {
    isFetching = false;
    receivedAt = now;
    push("timer", MAIN_TIMER, CONNECT_MS);
    return finish(now);
  };

  return {
    connection: () => connection,

    /** The last cursor received. */
    position: () => position,

    subscribe(s: S, now: number) {
      requests.subscribe(s, position);
      if (dormant && subscribers.size) connect();
      return finish(now);
    },

    ask: (now: number) => {
      requests.ask(now, status === "open");
      return finish(now);
    },

    unsubscribe(s: S, now: number) {
      requests.unsubscribe(s, status === "open");
      return finish(now);
    },

    settle(xid: string, ticket: T, now: number) {
      settling.add(xid, ticket);
      if (dormant) connect();
      return finish(now);
    },

    dialing,

    opened(token: string | undefined, now: number) {
      if (token !== undefined) push("send", { auth: token });
      return dialing(now);
    },

    received(message: unknown, now: number) {
      receivedAt = now;
      let frame;
      try {
        frame = decode(message);
      } catch {
        drop(BAD_FRAME, "a malformed message");
      }
      return frame && take(frame, now) ? [] : finish(now);
    },

    closed(closeCode: number, now: number, reason?: string) {
      lost(closeCode, reason);
      return finish(now);
    },

    /** A connection cannot be opened at all: another attempt would fail in the same way. */
    failed(what: string, now: number) {
      forget();
      stop(what);
      return finish(now);
    },

    /** The token of the `renew` effect. */
    renewed(token: string, now: number) {
      if (status === "open") push("send", { auth: token });
      return finish(now);
    },

    timer(key: string, now: number) {
      if (key === MAIN_TIMER) {
        if (status === "waiting") connect();
        else if (status === "connecting" && !dormant) {
          if (isFetching) push("report", new RealtimeError("token_timeout", `no token after ${TOKEN_SECONDS} s`));
          drop(NORMAL);
        }
        else if (status === "open") watch(now);
      } else if (key === RENEW_TIMER && status === "open") {
        push("renew");
        push("timer", RENEW_TIMER, Math.max(RENEW_MS, expires * RENEW_AGAIN));
      } else if (key === IDLE_TIMER && isUnused && !dormant && status !== "stopped") {
        push("close", NORMAL);
        forget();
        status = "connecting";
        dormant = isFetching = true;
      }
      else if (status === "open") requests.timer(key);
      return finish(now);
    },

    /** The network, the page or the user is back: reconnect at once, try a hanging attempt again, and probe a silent connection. */
    wake: (now: number) => {
      if (status === "waiting") connect();
      else if (status === "open") {
        // Every cursor covers transaction 0, so the server replies at once.
        push("send", { settle: "0" });
        push("timer", MAIN_TIMER, PROBE_MS);
        receivedAt = now + PROBE_MS - SILENCE * heartbeat;
      } else if (status === "connecting" && !isFetching && now - receivedAt > HUNG_MS) drop(NORMAL);
      return finish(now);
    },

    reconnect: (now: number) => {
      push("close", NORMAL);
      forget();
      verdicts.retry();
      isUnused = false;
      hint = 0;
      connect();
      return finish(now);
    },

    /** Reset all state; the next subscription starts from the beginning. */
    close: (now: number) => {
      push("close", NORMAL);
      forget();
      status = "stopped";
      dormant = true;
      position = code = undefined;
      works();
      requests.clear();
      return finish(now);
    },
  };
};
