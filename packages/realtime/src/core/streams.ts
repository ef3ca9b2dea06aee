/**
 * Streams: one conversation over many requests, where a WebSocket cannot be had.
 *
 * A stream is the answer to one request, and the request is all that the client can say. So whatever is said later
 * ends the stream and begins another, which goes on where the last one was cut: what was live is resumed, with the
 * number RESUME, after the last position that the client was told. To the client all of it is one connection: it hears
 * one `hello`, whole groups only, and the answer to RESUME as a commit point. Until that has come other answers wait,
 * because a commit point speaks for all that is live: what is live meanwhile is added to the answers whose channels it
 * is on, and all are told at the position of the last.
 */
import { type ClientFrame, type ClosingFrame, type Cursor, decode, type ErrorFrame } from "./frames.js";

const RESUME = Number.MAX_SAFE_INTEGER; // the client's own numbers begin at 1
type Subscribe = Extract<ClientFrame, { readonly subscribe: unknown }>;
type Waiting = {
  readonly channels: readonly string[];
  readonly ref: number | undefined;
  events: readonly Told[];
  reason: string | undefined;
};
type Told = { readonly channel: string; readonly text: string };

export const createStreams = () => {
  /** What the client follows; of these, what has been answered. */
  const wanted = new Set<string>();
  const live = new Set<string>();
  let asked: Subscribe[] = [];
  let settling: string[] = [];
  let auth: ClientFrame | undefined;
  let position: Cursor | undefined;
  let greeted = false;
  let resuming = false;
  /** The last position that this stream has told. */
  let latest: Cursor | undefined;
  /** Events with an `id` that the client was told of, and those that this stream has told of. */
  let told = 0;
  let heard = 0;
  let group: Told[] = [];
  const waiting: Waiting[] = [];
  const settled: string[] = [];

  const forget = (channel: string, ref: number | undefined) => {
    if (ref === RESUME) live.delete(channel);
    asked = asked
      .map((frame) => (frame.ref === ref ? { ...frame, subscribe: frame.subscribe.filter((name) => name !== channel) } : frame))
      .filter((frame) => frame.subscribe.length);
  };

  const tell = (events: readonly Told[], closing: object) => {
    told += events.length;
    return [...events.map(({ text }) => text), JSON.stringify(closing)];
  };

  const answer = ({ channels, ref, events, reason }: Waiting, cursor: Cursor) =>
    reason === undefined
      ? tell(events, { subscribed: channels, cursor, n: events.length, ref })
      : tell([], { reset: channels, reason, cursor, ref });

  /** The resume is answered, or nothing is left of it: tell what has waited. */
  const release = (cursor: Cursor) => {
    resuming = false;
    position = cursor;
    return [...waiting.splice(0).flatMap((one) => answer(one, cursor)), ...settled.splice(0)];
  };

  const close = ({ type, channels = [], cursor, n, sent, ref, reason }: ClosingFrame) => {
    asked = asked.filter((frame) => frame.ref !== ref);
    for (const name of channels) if (wanted.has(name)) live.add(name);
    const events = group.splice(0);
    heard += events.length;
    const missing = sent === undefined ? undefined : sent - heard;
    const again = type === "cursor" && n > 0 && cursor === latest;
    latest = cursor;
    // The client notices what is not right, and comes back; here it only has to show.
    if (events.length !== n || again) return tell([], { cursor, n: -1 });
    if (!resuming) position = cursor;
    if (type === "cursor" && (!resuming || missing)) return tell(events, { cursor, n, sent: missing === undefined ? missing : told + n + missing });
    if (!resuming) return answer({ channels, ref, events, reason }, cursor);
    if (ref === RESUME)
      return [...tell(events, type === "reset" ? { reset: channels, reason, cursor } : { cursor, n }), ...release(cursor)];
    if (ref !== undefined) waiting.push({ channels, ref, events, reason });
    else
      for (const one of waiting) {
        if (channels.some((name) => one.channels.includes(name))) one.reason = reason;
        one.events = [...one.events, ...events.filter(({ channel }) => one.channels.includes(channel))];
      }
    return [];
  };

  const refuse = ({ code, message, channel, ref }: ErrorFrame) => {
    if (channel !== undefined) forget(channel, ref);
    const error = { code, message, channel, ref: ref === RESUME ? undefined : ref };
    return [JSON.stringify({ error }), ...(resuming && !live.size && latest !== undefined ? release(latest) : [])];
  };

  return {
    /** Take a message of the client; true if it takes a new stream to say it. */
    say(message: string): boolean {
      const frame = JSON.parse(message) as ClientFrame; // the client's own
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
      return "subscribe" in frame || "settle" in frame;
    },

    /** Whether the stream may be ended now: it has gone on from where the last one was cut. */
    rests: () => !resuming,

    /** Begin a stream: what its request says. */
    begin(): string {
      group = [];
      heard = 0;
      resuming = live.size > 0;
      const frames: (ClientFrame | undefined)[] = [
        auth,
        resuming ? { subscribe: [...live], since: position, ref: RESUME } : undefined,
        ...asked,
        ...settling.map((settle) => ({ settle })),
      ];
      return frames.flatMap((frame) => (frame ? [JSON.stringify(frame)] : [])).join("\n");
    },

    /** Take a message of the stream; return what the client is told. */
    hear(text: string): string[] {
      let frame;
      try {
        frame = decode(text);
      } catch {
        return [text]; // the client knows what to do about it
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
        case "bye":
          return [text];
        default:
          return frame satisfies never;
      }
    },
  };
};
