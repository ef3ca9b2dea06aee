/** Frames: the messages of protocol version 1, and the decoder of the server's messages. */

/** A position in the log. Opaque: store it and send it back, but do not compare it. */
export type Cursor = string;

/**
 * What a subscriber receives: an event; the key of a row that left the channel; the reason of a skipped event, with the
 * key of a row that can no longer be sent; or a state (`RowsState`), which replaces all that was.
 */
export type Content = readonly [kind: "payload" | "gone" | "skipped" | "rows", value: unknown, key?: unknown];

/** The rows that a channel has, the names of their key's fields, and how many more there are: not to be sent, or counted members. */
export type RowsState = { readonly rows: readonly unknown[]; readonly key: readonly string[]; readonly skipped: number };

export type EventFrame = {
  readonly type: "event";
  readonly channel: string;
  /** Undefined if only a later version knows it: such a frame counts, and is not delivered. */
  readonly content: Content | undefined;
  /** Undefined for an ephemeral event. */
  readonly id: number | undefined;
};

/** Some of the rows of a state, which the next `subscribed` makes complete. */
export type RowsFrame = {
  readonly type: "rows";
  readonly channel: string;
  readonly key: readonly string[];
  readonly items: readonly unknown[];
};

/** A frame that closes a group: `channels` become live, and `ref` is the request that the group answers. */
export type ClosingFrame = {
  readonly type: "cursor" | "subscribed" | "reset";
  readonly channels: readonly string[] | undefined;
  readonly cursor: Cursor;
  readonly n: number;
  /** The number of events with an `id` since `hello`, in some frames. */
  readonly sent: number | undefined;
  readonly ref: number | undefined;
  readonly reason: string | undefined;
  /** The number of rows of the state in this group; undefined if it has none. */
  readonly rows: number | undefined;
  readonly skipped: number | undefined;
};

export type ErrorFrame = {
  readonly type: "error";
  readonly code: string;
  readonly message: string;
  /** The refused names; undefined if the request was refused as a whole. */
  readonly channels: readonly string[] | undefined;
  readonly ref: number | undefined;
  /** The limit of one channel's state that was exceeded. */
  readonly limit: unknown;
};

export type ServerFrame =
  | EventFrame
  | RowsFrame
  | ClosingFrame
  | ErrorFrame
  | { readonly type: "hello"; readonly schema: string; readonly heartbeat: number; readonly cursor: Cursor }
  | { readonly type: "settled"; readonly xid: string }
  /** `expires`: milliseconds until the token expires, if it does. */
  | { readonly type: "authenticated"; readonly expires: number | undefined }
  | { readonly type: "bye"; readonly after: number };

export type ClientFrame =
  | { readonly auth: string }
  | {
      readonly subscribe: readonly string[];
      readonly since: Cursor | undefined;
      readonly rows?: true | undefined;
      readonly present?: true | undefined;
      readonly ref: number;
    }
  | { readonly unsubscribe: readonly string[] }
  | { readonly absent: readonly string[] }
  | { readonly settle: string };

type Json = Readonly<Partial<Record<Member, unknown>>>;
type Member =
  | ("channel" | "payload" | "gone" | "skipped" | "count" | "id" | "cursor" | "n" | "sent" | "subscribed" | "reset" | "reason" | "ref" | "settled" | "hello")
  | ("authenticated" | "expires_in" | "error" | "bye" | "channels" | "rows" | "key" | "items" | "limit" | "schema" | "heartbeat" | "code" | "message" | "reconnect_after_ms");

const malformed = (): never => {
  throw new TypeError(); // without a text: the machine closes with 4002
};
const object = (value: unknown): Json => (typeof value === "object" && value ? value : malformed());
const text = (value: unknown): string => (typeof value === "string" ? value : malformed());
const number = (value: unknown): number => (typeof value === "number" ? value : malformed());
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : malformed());
const names = (value: unknown): string[] => list(value).map(text);
const optional = <T>(read: (value: unknown) => T, value: unknown): T | undefined =>
  value === undefined ? value : read(value);

const content = (frame: Json): Content | undefined => {
  if ("payload" in frame) return ["payload", frame.payload];
  if ("gone" in frame) return ["gone", object(frame.gone)];
  // The members are counted and not listed: a state without them.
  if ("count" in frame) return ["rows", { rows: [], key: ["id"], skipped: number(frame.count) }];
  if (!("skipped" in frame)) return undefined;
  const { reason, key } = object(frame.skipped);
  return ["skipped", text(reason), key];
};

/** Decode a message; `undefined` is a control frame of a later version, to be ignored. Throws on a malformed message. */
export const decode = (message: unknown): ServerFrame | undefined => {
  const frame = object(JSON.parse(text(message)));
  if ("channel" in frame)
    return { type: "event", channel: text(frame.channel), content: content(frame), id: optional(number, frame.id) };
  const [type = ""] = Object.keys(frame);
  switch (type) {
    case "cursor":
    case "subscribed":
    case "reset":
      return {
        type,
        channels: type === "cursor" ? undefined : names(frame[type]),
        cursor: text(frame.cursor),
        n: type === "reset" ? 0 : number(frame.n),
        sent: optional(number, frame.sent),
        ref: optional(number, frame.ref),
        reason: optional(text, frame.reason),
        rows: optional(number, frame.rows),
        skipped: optional(number, frame.skipped),
      };
    case "rows":
      return { type, channel: text(frame.rows), key: names(frame.key), items: list(frame.items) };
    case "hello": {
      const hello = object(frame.hello);
      return { type, schema: text(hello.schema), heartbeat: number(hello.heartbeat), cursor: text(hello.cursor) };
    }
    case "settled":
      return { type, xid: text(frame.settled) };
    case "authenticated": {
      const { expires_in: seconds } = object(frame.authenticated);
      return { type, expires: typeof seconds === "number" ? seconds * 1000 : undefined };
    }
    case "error": {
      const error = object(frame.error);
      return {
        type,
        code: text(error.code),
        message: text(error.message),
        channels: optional(names, error.channels ?? (error.channel && [error.channel])),
        ref: optional(number, error.ref),
        limit: error.limit,
      };
    }
    case "bye":
      return { type, after: number(object(frame.bye).reconnect_after_ms) };
    default:
      return undefined;
  }
};
