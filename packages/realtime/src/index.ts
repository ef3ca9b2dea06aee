export { type Client, type ClientOptions, createClient, type SubscribeOptions, type WebSocketLike } from "./client.js";
export { RealtimeError } from "./core/error.js";
export type { Cursor } from "./core/frames.js";
export type { Connection, Status } from "./core/machine.js";
export type {
  ChannelName,
  Gone,
  Member,
  MembersName,
  Payload,
  PresenceName,
  Register,
  RowKey,
  Rows,
  RowsName,
  State,
  Unsubscribe,
} from "./types.js";
