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
import { BAD_FRAME, createVerdicts, INVALID_TOKEN } from "./closing.js";
import type { Connection, Delivery, Effect, Limits, Status, Subscriber } from "./effects.js";
import { missed, RealtimeError, stopped } from "./error.js";
import { type ClosingFrame, type Cursor, decode, type ErrorFrame, type EventFrame, type RowsFrame } from "./frames.js";
import { badName, cursorOf, isName } from "./names.js";
import { retryDelay } from "./retry.js";
import { createSettling } from "./settling.js";

export type { Connection, Effect, Limits, Status, Subscriber } from "./effects.js";

export const IDLE = 0;
export const GONE = -1;
const LIVE = -2;
const REFUSED = -3;

/** Keys of timers; all others are the names of lingering channels. */
const MAIN_TIMER = "";
const ROOM_TIMER = "room!";
const ROWS_TIMER = "rows!";
const RENEW_TIMER = "renew!";
const IDLE_TIMER = "idle!";
const TOKEN_MS = 20_000;
const RENEW_AT = 0.8; // of the time until the token expires
const RENEW_AGAIN = 0.1;
const RENEW_MS = 1_000; // at least
/** Names that are asked for at once, and then in a second, after a server has found them too many. */
const NAMES_AT_ONCE = 200;
const NAMES_PER_SECOND = 40;
const CONNECT_MS = 10_000;
const PROBE_MS = 5_000;
const STALE = 2; // heartbeats
const SILENCE = 2.5; // heartbeats
const NORMAL = 1000;
const TOO_LONG = 1009;
const TOO_MUCH = 4429;
/** The most names in one request: with the longest, it is below every limit of a message. */
const MOST_NAMES = 100;
const NO_ROOM = "limit_exceeded";
/** A state that cannot be read now is asked for again after a second, then less often, up to half a minute. */
const UNREADABLE = "rows_unreadable";
const ROWS_MS = 1_000;
const ROWS_PATIENCE = 9;

export const createMachine = <S extends Subscriber, T>(
  random: () => number,
  { linger, schema, idle, hasTokens = false }: Limits,
) => {
  const verdicts = createVerdicts(hasTokens);
  const subscribers = new Set<S>();
  /** By channel, the request without `since` that will make it live, or LIVE: a new subscriber may share it. */
  const shared = new Map<string, number>();
  const settling = createSettling<T>();
  /** Subscribers whose name is not a channel's: refused without asking the server. */
  const misnamed: S[] = [];
  /** Channels without a handler that the server still has. */
  const lingering = new Set<string>();
  /** Of these, the ones that have lingered long enough. */
  const leaving: string[] = [];
  /** Subscribers that were refused for want of room, or whose rows cannot be read, and whether they were notified. */
  const crowded = new Map<S, boolean>();
  let roomRef = 0; // the last request before channels were left
  let mostNames = MOST_NAMES;
  let isPaced = false; // a server has found the names too many
  let names = NAMES_AT_ONCE;
  let namesAt = 0;
  const effects: Effect<S, T>[] = [];
  const group: EventFrame[] = [];
  /** The rows of a state that is not complete. */
  const pages: RowsFrame[] = [];
  let unreadable = 0; // states in a row
  let connection: Connection = { status: "connecting", fresh: false, since: 0, attempts: 0, code: undefined };
  let status: Status = connection.status;
  let dormant = true;
  let attempts = 0;
  let code: number | undefined;
  let isFetching = false; // the token of the next connection
  let isUnused = false; // no handler, and no transaction to wait for
  let expires = 0; // milliseconds that the last token had when it was accepted
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

  const askAgain = () => {
    for (const s of crowded.keys()) if (s.ref === REFUSED) s.ref = IDLE;
  };

  /** Unsubscribe, and ask again for what was refused for want of room. */
  const leave = (names: readonly string[]) => {
    for (const name of names) {
      lingering.delete(name);
      shared.delete(name);
    }
    if (!names.length) return;
    for (let n = 0; n < names.length; n += mostNames) push("send", { unsubscribe: names.slice(n, n + mostNames) });
    roomRef = lastRef;
    askAgain();
  };

  /** Whether one more name may be asked for now; else the others follow later. */
  const takesName = (now: number) => {
    if (!isPaced) return true;
    names = Math.min(NAMES_AT_ONCE, names + ((now - namesAt) * NAMES_PER_SECOND) / 1000);
    namesAt = now;
    if (names < 1) push("timer", ROOM_TIMER, 1000);
    return names >= 1 && names-- >= 1;
  };

  /** Send requests for the subscribers without one: for each cursor as few as possible, those for rows first. */
  const ask = (now: number) => {
    const unasked = () => [...subscribers].filter((s) => s.ref === IDLE);
    const isTight = crowded.size > 0 || lingering.size + unasked().length > MOST_NAMES;
    leave([...leaving.splice(0), ...(isTight ? lingering : [])]);
    const idle = unasked();
    for (const [rows, present] of [[true, true], [true], []] as const)
      for (const since of new Set(idle.map((s) => s.at))) {
        const refs = new Map<string, number>();
        let request: string[] = [];
        for (const s of idle.filter((s) => s.at === since && s.rows === rows && s.present === present)) {
          if (!refs.has(s.channel)) {
            if (!takesName(now)) return;
            if (request.length % mostNames === 0) push("send", { subscribe: (request = []), since, rows, present, ref: ++lastRef });
            request.push(s.channel);
            refs.set(s.channel, lastRef);
            if (since === undefined && !rows) shared.set(s.channel, lastRef);
          }
          s.ref = refs.get(s.channel) ?? IDLE;
        }
      }
  };

  const connect = () => {
    dormant = false;
    status = "connecting";
    isFetching = hasTokens;
    push("connect", verdicts.renews());
    push("timer", MAIN_TIMER, hasTokens ? TOKEN_MS : CONNECT_MS);
  };

  const forget = () => {
    group.length = pages.length = 0;
    shared.clear();
    lingering.clear();
    leaving.length = 0;
    settling.forget();
    for (const s of subscribers) s.ref = IDLE;
  };

  const stop = (what: string) => {
    status = "stopped";
    push("report", stopped(what));
  };

  const lost = (closeCode: number, reason = "") => {
    forget();
    code = closeCode;
    isPaced ||= code === TOO_MUCH;
    const { final, patience, report } = verdicts.closed(code, reason, mostNames < 2);
    if (code === TOO_LONG) mostNames = Math.ceil(mostNames / 10);
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

  const deliver = (events: Iterable<EventFrame>, ref: number | undefined) => {
    const deliveries: Delivery<S>[] = [];
    for (const { channel, content } of events)
      for (const s of subscribers) if (content && s.channel === channel && s.ref === ref) deliveries.push([s, content]);
    push("apply", deliveries);
  };

  /** Events were missed. Rows are read again; what is shown stays until then. */
  const miss = (s: S, reason: string) => {
    if (s.rows) {
      s.at = undefined;
      s.ref = IDLE;
      push("soon");
    } else push("reset", s, missed(s.channel, reason));
  };

  const close = (frame: ClosingFrame, now: number) => {
    const { type, channels, cursor, n, sent = counted, ref = LIVE, reason, rows: size, skipped = 0 } = frame;
    const events = group.splice(0);
    const parts = pages.splice(0);
    const rows = parts.flatMap(({ items }) => items);
    // Live events always come with a new cursor: with the last one, they are a repeated group. Without a `ref`,
    // `subscribed` brings what was held back while the server asked whether the viewer may still have it.
    const again = type === "cursor" && n > 0 && cursor === position;
    if (rows.length !== (size ?? 0) || events.length !== n || sent !== counted || again) {
      // The missing events may be older than delivered ones: a replay could deliver them out of order.
      if (unsure && sent > counted) for (const s of subscribers) if (s.ref === LIVE) miss(s, "lost");
      drop(BAD_FRAME, "events are missing");
      return;
    }
    unsure = frame.sent === undefined && (unsure || (ref === LIVE && !reason));
    for (const { channel, key } of parts.slice(0, 1)) events.unshift({ type: "event", channel, id: undefined, content: ["rows", { rows, key, skipped }] });
    // An event that was skipped for a family has one id on all of its channels.
    deliver(new Map(events.map((event) => [`${event.id} ${event.channel}`, event])).values(), ref);
    position = cursor;
    for (const name of channels ?? []) if (shared.get(name) === ref) shared.set(name, LIVE);
    for (const s of subscribers)
      if (s.ref === ref && (!channels || channels.includes(s.channel))) {
        s.at = cursor;
        s.ref = LIVE;
        crowded.delete(s);
        shared.set(s.channel, LIVE);
        if (s.rows) unreadable = 0;
        if (reason) miss(s, reason);
      }
    cursorAt = now;
    attempts = 0;
    // A heartbeat may come before the token is checked.
    if (type !== "cursor" || n > 0) works();
  };

  const works = () => {
    attempts = 0;
    verdicts.works();
  };

  /** A request named more channels than the server takes at once: ask with fewer. */
  const shorten = (found: readonly S[]) => {
    const { size } = new Set(found.map(({ channel }) => channel));
    if (size < 2) return false;
    mostNames = size >> 1;
    for (const s of found) s.ref = IDLE;
    push("soon");
    return true;
  };

  const refuse = ({ code, message, ref, limit }: ErrorFrame, channel?: string) => {
    const error = new RealtimeError(code, message, channel);
    const asked = ref ?? (channel === undefined ? GONE : LIVE);
    const found = [...subscribers].filter((s) => s.ref === asked && s.channel === (channel ?? s.channel));
    for (const [name, request] of shared)
      if (channel === undefined ? request === asked : name === channel) shared.delete(name);
    // A request that failed, for rows, has ended the channel for its other subscribers too.
    for (const s of subscribers)
      if (s.channel === channel && s.ref === LIVE && asked !== LIVE) {
        s.ref = IDLE;
        push("soon");
      }
    const crowd = code === NO_ROOM && limit === undefined;
    const rests = code === UNREADABLE;
    if (rests) push("timer", ROWS_TIMER, ROWS_MS + ROWS_PATIENCE * retryDelay(random, unreadable++));
    if (crowd && channel === undefined && (ref === undefined ? settling.refuse() : shorten(found))) return;
    // Lingering channels make room first; a subscriber without room is notified once.
    const roomy = crowd && (lingering.size > 0 || (ref !== undefined && ref <= roomRef));
    for (const s of found) {
      s.ref = roomy ? IDLE : REFUSED;
      const known = crowded.get(s);
      if (crowd || rests) crowded.set(s, known === true || !roomy);
      if (!roomy && !known) push("refused", s, error);
      if (s.rows && code === "bad_request") subscribers.delete(s);
    }
    if (roomy) push("soon");
    if (!found.length && code !== INVALID_TOKEN) push("report", error);
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
      if (s.ref >= IDLE) answered = false;
      if (s.ref > IDLE && s.ref <= resumed) fresh = false;
    }
    if (status === "stopped")
      for (const { xid, ticket } of settling.clear()) push("settled", ticket, stopped(`${xid} was not delivered`));
    // A transaction is settled for live subscriptions only, so the request waits for the resume.
    else if (answered) for (const settle of settling.ask()) push("send", { settle });
    const unused = !subscribers.size && !settling.size();
    if (unused && !isUnused && !dormant && idle !== undefined) push("timer", IDLE_TIMER, idle);
    isUnused = unused;
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
      if (!isName(s.channel)) {
        misnamed.push(s);
        push("soon");
        return finish(now);
      }
      s.at = cursorOf(s.at);
      lingering.delete(s.channel);
      if (s.at === undefined && !s.rows) {
        s.ref = shared.get(s.channel) ?? IDLE;
        if (s.ref === LIVE) s.at = position;
      }
      subscribers.add(s);
      if (dormant) connect();
      else if (s.ref === IDLE) push("soon");
      return finish(now);
    },

    ask(now: number) {
      for (const s of misnamed.splice(0)) push("refused", s, badName(s.channel));
      if (status === "open") ask(now);
      return finish(now);
    },

    unsubscribe(s: S, now: number) {
      crowded.delete(s);
      const isThere = subscribers.delete(s);
      // At once, while the channel lingers: the server has a grace of its own for one that comes back.
      if (isThere && s.present && s.ref && status === "open" && ![...subscribers].some(({ channel, present }) => present && channel === s.channel))
        push("send", { absent: [s.channel] });
      if (isThere && ![...subscribers].some(({ channel }) => channel === s.channel)) {
        lingering.add(s.channel);
        push("timer", s.channel, linger);
        if (crowded.size) push("soon");
      }
      s.ref = GONE;
      return finish(now);
    },

    settle(xid: string, ticket: T, now: number) {
      settling.add(xid, ticket);
      if (dormant) connect();
      return finish(now);
    },

    /** The token is there, and a socket opens. */
    dialing(now: number) {
      isFetching = false;
      push("timer", MAIN_TIMER, CONNECT_MS);
      return finish(now);
    },

    opened(token: string | undefined, now: number) {
      isFetching = false;
      push("timer", MAIN_TIMER, CONNECT_MS);
      if (token !== undefined) push("send", { auth: token });
      return finish(now);
    },

    received(message: unknown, now: number) {
      receivedAt = now;
      let frame;
      try {
        frame = decode(message);
      } catch {
        drop(BAD_FRAME, "a malformed message");
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
        case "rows":
          pages.push(frame);
          return [];
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
          names = NAMES_AT_ONCE;
          ask(now);
          resumed = lastRef;
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
          if (isFetching) push("report", new RealtimeError("token_timeout", `token() did not return within ${TOKEN_MS / 1000} s`));
          drop(NORMAL);
        }
        else if (status === "open") watch(now);
      } else if (key === ROOM_TIMER || key === ROWS_TIMER) {
        askAgain();
        push("soon");
      }
      else if (key === RENEW_TIMER && status === "open") {
        push("renew");
        push("timer", RENEW_TIMER, Math.max(RENEW_MS, expires * RENEW_AGAIN));
      } else if (key === IDLE_TIMER && isUnused && !dormant && status !== "stopped") {
        push("close", NORMAL);
        forget();
        status = "connecting";
        dormant = true;
      }
      else if (status === "open" && lingering.delete(key)) {
        leaving.push(key);
        push("soon");
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
      verdicts.retry();
      isUnused = false;
      hint = 0;
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
      works();
      verdicts.retry();
      const done = finish(now);
      for (const s of subscribers) s.ref = GONE;
      subscribers.clear();
      crowded.clear();
      return done;
    },
  };
};
