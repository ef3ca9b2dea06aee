/** Names, cursors and transactions: what the application gives, checked before it could spoil a request for others. */
import { RealtimeError } from "./error.js";
import type { Cursor } from "./frames.js";

const NAME = /^[a-z][a-z0-9_]{0,47}(\.[\w-]{1,64})?$/;
/** Text that needs no escape, and leaves room for names in a message of 64 KiB. */
const CURSOR = /^[!#-[\]-~]{1,40000}$/;

export const isName = (name: unknown): boolean => typeof name === "string" && NAME.test(name);

/** A cursor as it can be sent; for what is none, one that the server answers with a reset. */
export const cursorOf = (since: unknown): Cursor | undefined =>
  since === undefined || since === null ? undefined : typeof since === "string" && CURSOR.test(since) ? since : "?";

export const badName = (name: unknown): RealtimeError =>
  typeof name === "string" ? notName(JSON.stringify(name.slice(0, 64)), name) : notName(name && typeof name);
const notName = (shown: unknown, channel?: string) =>
  new RealtimeError("bad_channel", `${String(shown)} is not the name of a channel, such as runs.7`, channel);

/** The text of a transaction's id; throws on what is none, which rejects the promise. */
export const transaction = (xid: unknown) => {
  const id = BigInt(String(xid).trim() || NaN);
  if (id < 0n || id >> 63n) throw new RangeError(`${id} is not the id of a transaction`);
  return String(id);
};
