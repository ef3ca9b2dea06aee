export { createClient } from "./client.js";
export { RealtimeError } from "./core/error.js";
export type { Cursor } from "./core/frames.js";
export type { Connection, Status } from "./core/machine.js";
export type { WebSocketLike } from "./dial.js";
export type { Client, ClientOptions, SubscribeOptions } from "./options.js";
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
