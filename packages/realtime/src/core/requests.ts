/**
 * Requests: which channels the server is asked for, and what follows when it refuses them.
 *
 * While the connection is open, a subscriber holds the `ref` of the request that it waits for. Subscribers of one channel
 * share a request, and one cursor has as few as possible.
 */
import { INVALID_TOKEN } from "./closing.js";
import { type Push, ROOM_TIMER, ROWS_TIMER } from "./effects.js";
import { RealtimeError } from "./error.js";
import type { Cursor, ErrorFrame } from "./frames.js";
import { badName, cursorOf, isName } from "./names.js";
import { retryDelay } from "./retry.js";
import { GONE, IDLE, LIVE, REFUSED, type Subscriber, waiting } from "./groups.js";

/** Names that are asked for at once, and then in a second, after a server has found them too many. */
const NAMES_AT_ONCE = 200;
const NAMES_PER_SECOND = 40;
const TOO_LONG = 1009;
const TOO_MUCH = 4429;
/** The most names in one request: with the longest, it is below every limit of a message. */
const MOST_NAMES = 100;
const NO_ROOM = "limit_exceeded";
/** A state that cannot be read now is asked for again after a second, then less often, up to half a minute. */
const UNREADABLE = "rows_unreadable";
const ROWS_MS = 1_000;
const ROWS_PATIENCE = 9;

export const createRequests = <S extends Subscriber, T>(
  subscribers: Set<S>,
  settling: { readonly refuse: () => boolean },
  push: Push<S, T>,
  random: () => number,
  linger: number,
) => {
  /** By channel, the request without `since` that will make it live, or LIVE: a new subscriber may share it. */
  const shared = new Map<string, number>();
  /** Subscribers whose name is not a channel's: refused without asking the server. */
  const misnamed: S[] = [];
  /** Channels without a handler that the server still has. */
  const lingering = new Set<string>();
  /** Of these, the ones that have lingered long enough. */
  const leaving: string[] = [];
  /** Subscribers that were refused for want of room, or whose rows cannot be read, and whether they were notified. */
  const crowded = new Map<S, boolean>();
  let lastRef = 0;
  let roomRef = 0; // the last request before channels were left
  let mostNames = MOST_NAMES;
  let isPaced = false; // a server has found the names too many
  let names = NAMES_AT_ONCE;
  let namesAt = 0;
  let unreadable = 0; // states in a row

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
    if (names >= 1) return names-- > 0;
    push("timer", ROOM_TIMER, 1000);
    return false;
  };

  /** Send requests for the subscribers without one: for each cursor as few as possible, those for rows first. */
  const ask = (now: number) => {
    const unasked = () => waiting(subscribers, IDLE);
    const isTight = crowded.size > 0 || lingering.size + unasked().length > MOST_NAMES;
    leave([...leaving.splice(0), ...(isTight ? lingering : [])]);
    const idle = unasked();
    for (const [rows, present] of [[true, true], [true], []] as const)
      for (const since of new Set(idle.map((s) => s.at))) {
        const alike = idle.filter((s) => s.at === since && s.rows === rows && s.present === present);
        let request: string[] = [];
        for (const channel of new Set(alike.map((s) => s.channel))) {
          if (!takesName(now)) return;
          if (request.length % mostNames === 0) push("send", { subscribe: (request = []), since, rows, present, ref: ++lastRef });
          request.push(channel);
          if (since === undefined && !rows) shared.set(channel, lastRef);
          for (const s of alike) if (s.channel === channel) s.ref = lastRef;
        }
      }
  };

  /** A request named more channels than the server takes at once: ask with fewer. */
  const shorten = (found: readonly S[]) => {
    const { size } = new Set(found.map((s) => s.channel));
    if (size < 2) return false;
    mostNames = size >> 1;
    for (const s of found) s.ref = IDLE;
    push("soon");
    return true;
  };

  const refuse = ({ code, message, ref, limit }: ErrorFrame, channel?: string) => {
    const error = new RealtimeError(code, message, channel);
    const asked = ref ?? (channel === undefined ? GONE : LIVE);
    const found = waiting(subscribers, asked).filter((s) => s.channel === (channel ?? s.channel));
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
      if (crowd || rests) crowded.set(s, !!known || !roomy);
      if (!roomy && !known) push("refused", s, error);
      if (s.rows && code === "bad_request") subscribers.delete(s);
    }
    if (roomy) push("soon");
    if (!found.length && code !== INVALID_TOKEN) push("report", error);
  };

  return {
    /** `position`: the cursor of what is live. */
    subscribe(s: S, position: Cursor | undefined) {
      if (isName(s.channel)) {
        s.at = cursorOf(s.at);
        lingering.delete(s.channel);
        if (s.at === undefined && !s.rows) {
          s.ref = shared.get(s.channel) ?? IDLE;
          if (s.ref === LIVE) s.at = position;
        }
        subscribers.add(s);
      } else misnamed.push(s);
      if (s.ref === IDLE) push("soon");
    },

    unsubscribe(s: S, isOpen: boolean) {
      crowded.delete(s);
      if (subscribers.delete(s)) {
        const others = [...subscribers].filter((other) => other.channel === s.channel);
        // At once, while the channel lingers: the server has a grace of its own for one that comes back.
        if (isOpen && s.present && s.ref && !others.some((s) => s.present)) push("send", { absent: [s.channel] });
        if (!others.length) {
          lingering.add(s.channel);
          push("timer", s.channel, linger);
          if (crowded.size) push("soon");
        }
      }
      s.ref = GONE;
    },

    /** Ask for what has no request, after the calls that belong together. Returns the `ref` of the last request. */
    ask(now: number, isOpen: boolean): number {
      for (const s of misnamed.splice(0)) push("refused", s, badName(s.channel));
      if (isOpen) ask(now);
      return lastRef;
    },

    /** These subscribers, which waited for one request, have their answer. */
    answered(channels: readonly string[], ref: number, subscribers: readonly S[]) {
      for (const name of channels) if (shared.get(name) === ref) shared.set(name, LIVE);
      for (const s of subscribers) {
        shared.set(s.channel, LIVE);
        crowded.delete(s);
        if (s.rows) unreadable = 0;
      }
    },

    /** One channel of a request is refused, or all that it names. */
    refuse,

    timer(key: string) {
      if (key === ROOM_TIMER || key === ROWS_TIMER) askAgain();
      else if (lingering.delete(key)) leaving.push(key);
      push("soon");
    },

    /** The connection is lost, and its requests with it. Returns whether they could not have been shorter. */
    forget(code?: number): boolean {
      const isShortest = mostNames < 2;
      isPaced ||= code === TOO_MUCH;
      if (code === TOO_LONG) mostNames = Math.ceil(mostNames / 10);
      shared.clear();
      lingering.clear();
      leaving.length = 0;
      names = NAMES_AT_ONCE;
      for (const s of subscribers) s.ref = IDLE;
      return isShortest;
    },

    clear() {
      for (const s of subscribers) s.ref = GONE;
      subscribers.clear();
      crowded.clear();
    },
  };
};
