/** Options: what an application gives to the client and to its subscriptions, and the client's own type. */
import type { Connection } from "./core/effects.js";
import type { RealtimeError } from "./core/error.js";
import type { Cursor } from "./core/frames.js";
import type { WebSocketLike } from "./dial.js";
import type { ChannelName, Gone, Payload, State, Unsubscribe } from "./types.js";

type Token = string | null | undefined;

export type ClientOptions = {
  /** The server's address; by default `/realtime` on the page's host. `http` is read as `ws`. */
  readonly url?: string | URL;
  /**
   * Called before every connection, and again at 80 % of a token's time. `renew` is true if the last one was refused or expires soon: fetch a new one.
   * Within 20 s; an empty result is no token.
   */
  readonly token?: (renew: boolean) => Token | Promise<Token>;
  /** The generated `schemaHash`; a server with another hash is reported once. */
  readonly schema?: string;
  /** Called with every error that has no handler of its own; by default `reportError`. */
  readonly onError?: (error: unknown) => void;
  /** The WebSocket class, if it is not a global (Node before 22). */
  readonly WebSocket?: new (url: string) => WebSocketLike;
  /** How long a channel stays subscribed after its last handler, in milliseconds. */
  readonly linger?: number;
  /** How long a connection without any handler stays open, in milliseconds; by default 10 s. The next subscription opens another. */
  readonly idle?: number;
};

export type SubscribeOptions<C extends ChannelName = ChannelName> = {
  /** Begin after this cursor instead of now: later events are replayed first. */
  readonly since?: Cursor;
  /** Events were missed and cannot be replayed; `code` is the reason (`expired`, `rewound`, `lost`, …). Load the state again. */
  readonly onReset?: (error: RealtimeError) => void;
  /** A row left the channel: it was deleted, or belongs to another channel of the family now. Called in the order of the events. */
  readonly onGone?: (key: Gone<C>) => void;
  /**
   * For a channel of rows: begin with the rows that it has now. Called before the events that follow, and again instead of
   * `onReset`: replace what was.
   */
  readonly onRows?: (state: State<C>) => void;
  /** With `onRows`, for a channel of members: the viewer is present there while this subscription lasts. */
  readonly present?: boolean;
  /** Called once after all handlers of a group that has an event for this subscription; once for all that share the function. */
  readonly onGroup?: () => void;
  /** One event cannot be delivered; `code` is the reason. Load the state again if it depends on that event. */
  readonly onSkipped?: (error: RealtimeError) => void;
  /** The server refused the channel. */
  readonly onError?: (error: RealtimeError) => void;
  /** Called whenever it changes whether this subscription is known to be up to date. */
  readonly onFresh?: (fresh: boolean) => void;
};

export type Client = {
  /** Subscribe to a channel; returns the function that unsubscribes. The events of a transaction arrive together. */
  readonly subscribe: <C extends ChannelName>(
    channel: C,
    handler: (payload: Payload<C>) => void,
    options?: SubscribeOptions<C>,
  ) => Unsubscribe;
  /** Resolves when all events of a transaction have reached the handlers; rejects when the client stops, or if `xid` is no transaction's. */
  readonly settled: (xid: string | number | bigint) => Promise<void>;
  /** An external store, for `useSyncExternalStore`. */
  readonly connection: {
    readonly get: () => Connection;
    readonly subscribe: (listener: () => void) => () => void;
  };
  /** The last cursor received. */
  readonly position: () => Cursor | undefined;
  /** The application is in front again, or the network is back: connect without waiting, give up an attempt that hangs, or check that the connection lives. Pages call it by themselves. */
  readonly wake: () => void;
  /** Connect again in any state, also after the client stopped; resumes from every cursor. */
  readonly reconnect: () => void;
  /** Disconnect and forget token, cursors and subscriptions: for a logout. */
  readonly close: () => void;
};
