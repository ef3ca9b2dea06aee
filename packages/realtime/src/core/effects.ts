/** Effects: what the client has to do for the machine, and the values that it shows. */
import type { RealtimeError } from "./error.js";
import type { ClientFrame, Content } from "./frames.js";

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

/** The events of one channel share one list of subscribers: a burst to many of them makes no pair for each. */
export type Delivery<S> = readonly [content: Content, to: readonly S[]];

export type Effect<S, T> =
  /** Fetch a token, a new one if `renew`, call `dialing` and open a socket; then `opened`, `closed` or `failed`. */
  | readonly ["connect", renew: boolean]
  /** Fetch a new token, then call `renewed`. */
  | readonly ["renew"]
  | readonly ["send", frame: ClientFrame]
  /** Call `ask` after the current calls, so that their subscriptions share requests. */
  | readonly ["soon"]
  /** Close the socket and ignore its further messages. */
  | readonly ["close", code: number]
  /** Call `timer(key)` once after this time; replaces the timer of the same key. */
  | readonly ["timer", key: string, ms: number]
  /** Call the handlers synchronously, in this order: for each event, those of all its subscribers. */
  | readonly ["apply", deliveries: readonly Delivery<S>[]]
  /** Notify a subscriber that events were missed (the error's code is the reason), or that its channel was refused. */
  | readonly ["reset" | "refused", subscriber: S, error: RealtimeError]
  | readonly ["fresh", subscriber: S, fresh: boolean]
  /** A transaction was delivered, or with `error` given up. */
  | readonly ["settled", ticket: T, error?: RealtimeError]
  | readonly ["connection", connection: Connection]
  | readonly ["report", error: RealtimeError];

export type Push<S, T> = (...effect: Effect<S, T>) => void;

/** Keys of timers; all others are the names of lingering channels, which begin with a letter. */
export const MAIN_TIMER = "";
export const ROOM_TIMER = "1";
export const ROWS_TIMER = "2";
export const RENEW_TIMER = "3";
export const IDLE_TIMER = "4";

export type Limits = {
  /** How long a channel stays subscribed after its last handler, in milliseconds. */
  readonly linger: number;
  /** How long a connection without any handler stays open, in milliseconds; undefined for ever. */
  readonly idle?: number;
  /** The schema hash that this client was generated for. */
  readonly schema?: string | undefined;
  /** Whether there is a function that returns tokens. */
  readonly hasTokens?: boolean;
};
