/**
 * Streams: one connection over many HTTP requests, where no WebSocket is possible.
 *
 * A stream is the response to one request, and only the request carries the client's frames. So a later frame ends the
 * stream and begins another, which resumes the live channels, with the `ref` RESUME, after the last cursor that the
 * client received. The client sees one connection: one `hello`, complete groups only, and the reply to RESUME as a
 * commit point. Until that reply arrives, other replies are held back, because a commit point counts for all live
 * channels: events that become live meanwhile are added to the held replies of their channels, and all are passed on
 * with the last cursor.
 */
import { type ClientFrame, type ClosingFrame, type Cursor, decode, type ErrorFrame } from "./frames.js";

const RESUME = Number.MAX_SAFE_INTEGER; // the client's own `ref`s begin at 1
type Subscribe = Extract<ClientFrame, { readonly subscribe: unknown }>;
type Waiting = Pick<ClosingFrame, "ref" | "rows" | "skipped"> & {
  readonly channels: readonly string[];
  events: readonly BufferedEvent[];
  reason: string | undefined;
};
/** An event, or rows of a state, which do not count. */
type BufferedEvent = { readonly channel: string; readonly text: string; readonly counts: boolean };
const count = (events: readonly BufferedEvent[]) => events.filter(({ counts }) => counts).length;

export const createStreams = () => {
  /** The channels that the client subscribes to, and those of them that are answered. */
  const wanted = new Set<string>();
  const live = new Set<string>();
  /** The channels of members on which the viewer is present. */
  const present = new Set<string>();
  let asked: Subscribe[] = [];
  let settling: string[] = [];
  let auth: Extract<ClientFrame, { readonly auth: unknown }> | undefined;
  let position: Cursor | undefined;
  let greeted = false;
  /** The channels of the resume that are not answered, and those that are; then its events, and its resets. */
  let resuming = new Set<string>();
  let resumed = new Set<string>();
  let replayed: BufferedEvent[] = [];
  const resets: { readonly reset: readonly string[]; readonly reason: string }[] = [];
  /** The last cursor of this stream. */
  let latest: Cursor | undefined;
  /** The number of events with an `id` passed on to the client, and received on this stream. */
  let passed = 0;
  let received = 0;
  /** Whether the last commit point that was passed on had a count, which the resume then continues. */
  let exact = true;
  let group: BufferedEvent[] = [];
  const waiting: Waiting[] = [];
  /** What is passed on after these: `settled`, and errors. */
  const after: string[] = [];

  /** A request for a channel is answered, or withdrawn. */
  const forget = (channel: string, ref: number | undefined) => {
    asked = asked
      .map((frame) => (frame.ref === ref ? { ...frame, subscribe: frame.subscribe.filter((name) => name !== channel) } : frame))
      .filter((frame) => frame.subscribe.length);
  };

  const passOn = (events: readonly BufferedEvent[], closing: object) => {
    passed += count(events);
    return [...events.map(({ text }) => text), JSON.stringify(closing)];
  };

  const answer = ({ channels, ref, events, reason, rows, skipped }: Waiting, cursor: Cursor) =>
    reason === undefined
      ? passOn(events, { subscribed: channels, cursor, n: count(events), ref, rows, skipped })
      : passOn([], { reset: channels, reason, cursor, ref });

  /**
   * The resume is answered: pass on its resets, then its events, then the held replies. Resets first: a commit point
   * moves the cursors of all live channels. After them it is a `subscribed`, as a second frame with this cursor.
   */
  const release = (cursor: Cursor) => {
    position = cursor;
    const events = replayed.splice(0);
    const n = count(events);
    const reset = resets.flatMap((one) => one.reset);
    const subscribed = reset.length ? [...resumed].filter((name) => !reset.includes(name)) : undefined;
    const messages = resets.splice(0).flatMap((one) => passOn([], { ...one, cursor }));
    if (subscribed?.length !== 0) messages.push(...passOn(events, { subscribed, cursor, n, sent: exact ? passed + n : undefined }));
    return [...messages, ...waiting.splice(0).flatMap((one) => answer(one, cursor)), ...after.splice(0)];
  };

  const close = ({ type, channels = [], cursor, n, sent, ref, reason, rows, skipped }: ClosingFrame) => {
    for (const name of channels) {
      forget(name, ref);
      if (wanted.has(name)) live.add(name);
    }
    const events = group.splice(0);
    const counted = count(events);
    received += counted;
    const missing = sent === undefined ? undefined : sent - received;
    const again = type === "cursor" && n > 0 && cursor === latest;
    latest = cursor;
    // A wrong count makes the client close with 4002 and resume.
    if (counted !== n || again) return passOn([], { cursor, n: -1 });
    const isResuming = resuming.size > 0;
    if (!isResuming) position = cursor;
    if (type === "cursor" && (!isResuming || missing)) {
      exact = missing !== undefined;
      return passOn(events, { cursor, n, sent: missing === undefined ? missing : passed + n + missing });
    }
    const one = { channels, ref, events, reason, rows, skipped };
    if (!isResuming) return answer(one, cursor);
    if (ref !== undefined && ref !== RESUME) {
      waiting.push(one);
      return [];
    }
    if (ref === RESUME)
      for (const name of channels) {
        resuming.delete(name);
        resumed.add(name);
      }
    else
      for (const held of waiting) {
        if (channels.some((name) => held.channels.includes(name))) held.reason = reason;
        held.events = [...held.events, ...events.filter(({ channel }) => held.channels.includes(channel))];
      }
    if (reason !== undefined) {
      const reset = channels.filter((name) => resumed.has(name));
      replayed = replayed.filter(({ channel }) => !reset.includes(channel));
      if (reset.length) resets.push({ reset, reason });
    }
    replayed.push(...events.filter(({ channel }) => resumed.has(channel)));
    return resuming.size ? [] : release(cursor);
  };

  const refuse = ({ code, message, channels, ref, limit }: ErrorFrame) => {
    const wasResuming = resuming.size > 0;
    for (const name of channels ?? []) {
      live.delete(name); // the client asks again, if it wants to
      forget(name, ref);
      if (ref === RESUME) resuming.delete(name);
      // Its events have ended before the cursor with which that reply will be passed on.
      for (const held of waiting) if (held.channels.includes(name)) held.reason = "unreadable";
    }
    const error = JSON.stringify({ error: { code, message, channels, ref: ref === RESUME ? undefined : ref, limit } });
    // After the held replies: it ends what they begin.
    if (wasResuming && channels && ref !== RESUME) {
      after.push(error);
      return [];
    }
    return [error, ...(wasResuming && !resuming.size && latest !== undefined ? release(latest) : [])];
  };

  return {
    /** Process a message of the client; returns true if it needs a new stream. */
    send(message: string): boolean {
      const frame = JSON.parse(message) as ClientFrame; // written by the client in this package
      const renews = "auth" in frame && auth !== undefined && frame.auth !== auth.auth;
      if ("auth" in frame) auth = frame;
      else if ("subscribe" in frame) {
        asked.push(frame);
        for (const name of frame.subscribe) {
          wanted.add(name);
          if (frame.present) present.add(name);
        }
      } else if ("settle" in frame) settling.push(frame.settle);
      else if ("absent" in frame) for (const name of frame.absent) present.delete(name);
      else
        for (const name of frame.unsubscribe) {
          wanted.delete(name);
          present.delete(name);
          live.delete(name);
          for (const { ref } of asked) forget(name, ref);
        }
      return renews || "subscribe" in frame || "settle" in frame || "absent" in frame;
    },

    /** Whether a new stream may replace this one: its resume is answered. */
    isResumed: () => !resuming.size,

    /** Begin a stream; returns the body of its request. */
    begin(): string {
      group = [];
      received = 0;
      resuming = new Set(live);
      resumed = new Set();
      const resume = (present: true | undefined, names: string[]) =>
        names.length ? { subscribe: names, since: position, present, ref: RESUME } : undefined;
      // Left since it was asked for, and not answered yet.
      const left = asked.flatMap((frame) => (frame.present ? frame.subscribe.filter((name) => !present.has(name)) : []));
      const frames: (ClientFrame | undefined)[] = [
        auth,
        resume(true, [...live].filter((name) => present.has(name))),
        resume(undefined, [...live].filter((name) => !present.has(name))),
        ...asked,
        left.length ? { absent: left } : undefined,
        ...settling.map((settle) => ({ settle })),
      ];
      return frames.flatMap((frame) => (frame ? [JSON.stringify(frame)] : [])).join("\n");
    },

    /** Process a message of the stream; returns the messages for the client. */
    receive(text: string): string[] {
      let frame;
      try {
        frame = decode(text);
      } catch {
        return [text]; // the client closes with 4002
      }
      switch (frame?.type) {
        case undefined:
          return [];
        case "event":
          if (frame.id === undefined) return [text];
          group.push({ channel: frame.channel, text, counts: true });
          return [];
        case "rows":
          group.push({ channel: frame.channel, text, counts: false });
          return [];
        case "hello":
          latest = frame.cursor;
          if (greeted) return [];
          greeted = true;
          return [text];
        case "cursor":
        case "subscribed":
        case "reset":
          return close(frame);
        case "settled": {
          const { xid } = frame;
          settling = settling.filter((asking) => asking !== xid);
          if (!resuming.size) return [text];
          after.push(text);
          return [];
        }
        case "error":
          return refuse(frame);
        case "authenticated":
        case "bye":
          return [text];
        default:
          return frame satisfies never;
      }
    },
  };
};
