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
type Waiting = {
  readonly channels: readonly string[];
  readonly ref: number | undefined;
  events: readonly BufferedEvent[];
  reason: string | undefined;
};
type BufferedEvent = { readonly channel: string; readonly text: string };

export const createStreams = () => {
  /** The channels that the client subscribes to, and those of them that are answered. */
  const wanted = new Set<string>();
  const live = new Set<string>();
  let asked: Subscribe[] = [];
  let settling: string[] = [];
  let auth: Extract<ClientFrame, { readonly auth: unknown }> | undefined;
  let position: Cursor | undefined;
  let greeted = false;
  let resuming = false;
  /** The last cursor of this stream. */
  let latest: Cursor | undefined;
  /** The number of events with an `id` passed on to the client, and received on this stream. */
  let passed = 0;
  let received = 0;
  /** Whether the last commit point that was passed on had a count, which the resume then continues. */
  let exact = true;
  let group: BufferedEvent[] = [];
  const waiting: Waiting[] = [];
  const settled: string[] = [];

  const forget = (channel: string, ref: number | undefined) => {
    if (ref === RESUME) live.delete(channel);
    asked = asked
      .map((frame) => (frame.ref === ref ? { ...frame, subscribe: frame.subscribe.filter((name) => name !== channel) } : frame))
      .filter((frame) => frame.subscribe.length);
  };

  const passOn = (events: readonly BufferedEvent[], closing: object) => {
    passed += events.length;
    return [...events.map(({ text }) => text), JSON.stringify(closing)];
  };

  const answer = ({ channels, ref, events, reason }: Waiting, cursor: Cursor) =>
    reason === undefined
      ? passOn(events, { subscribed: channels, cursor, n: events.length, ref })
      : passOn([], { reset: channels, reason, cursor, ref });

  /** After the reply to the resume, or without a channel to resume: pass on the held replies. */
  const release = (cursor: Cursor) => {
    resuming = false;
    position = cursor;
    return [...waiting.splice(0).flatMap((one) => answer(one, cursor)), ...settled.splice(0)];
  };

  const close = ({ type, channels = [], cursor, n, sent, ref, reason }: ClosingFrame) => {
    asked = asked.filter((frame) => frame.ref !== ref);
    for (const name of channels) if (wanted.has(name)) live.add(name);
    const events = group.splice(0);
    received += events.length;
    const missing = sent === undefined ? undefined : sent - received;
    const again = type === "cursor" && n > 0 && cursor === latest;
    latest = cursor;
    // A wrong count makes the client close with 4002 and resume.
    if (events.length !== n || again) return passOn([], { cursor, n: -1 });
    if (!resuming) position = cursor;
    if (type === "cursor" && (!resuming || missing)) {
      exact = missing !== undefined;
      return passOn(events, { cursor, n, sent: missing === undefined ? missing : passed + n + missing });
    }
    if (!resuming) return answer({ channels, ref, events, reason }, cursor);
    if (ref === RESUME)
      return [...passOn(events, type === "reset" ? { reset: channels, reason, cursor } : { cursor, n, sent: exact ? passed + n : undefined }), ...release(cursor)];
    if (ref !== undefined) waiting.push({ channels, ref, events, reason });
    else
      for (const one of waiting) {
        if (channels.some((name) => one.channels.includes(name))) one.reason = reason;
        one.events = [...one.events, ...events.filter(({ channel }) => one.channels.includes(channel))];
      }
    return [];
  };

  const refuse = ({ code, message, channels, ref }: ErrorFrame) => {
    for (const name of channels ?? []) forget(name, ref);
    const error = { code, message, channels, ref: ref === RESUME ? undefined : ref };
    return [JSON.stringify({ error }), ...(resuming && !live.size && latest !== undefined ? release(latest) : [])];
  };

  return {
    /** Process a message of the client; returns true if it needs a new stream. */
    send(message: string): boolean {
      const frame = JSON.parse(message) as ClientFrame; // written by the client in this package
      const renews = "auth" in frame && auth !== undefined && frame.auth !== auth.auth;
      if ("auth" in frame) auth = frame;
      else if ("subscribe" in frame) {
        asked.push(frame);
        for (const name of frame.subscribe) wanted.add(name);
      } else if ("settle" in frame) settling.push(frame.settle);
      else
        for (const name of frame.unsubscribe) {
          wanted.delete(name);
          live.delete(name);
          for (const { ref } of asked) forget(name, ref);
        }
      return renews || "subscribe" in frame || "settle" in frame;
    },

    /** Whether a new stream may replace this one: its resume is answered. */
    isResumed: () => !resuming,

    /** Begin a stream; returns the body of its request. */
    begin(): string {
      group = [];
      received = 0;
      resuming = live.size > 0;
      const frames: (ClientFrame | undefined)[] = [
        auth,
        resuming ? { subscribe: [...live], since: position, ref: RESUME } : undefined,
        ...asked,
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
          group.push({ channel: frame.channel, text });
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
          if (!resuming) return [text];
          settled.push(text);
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
