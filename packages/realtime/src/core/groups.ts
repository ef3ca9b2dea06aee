/** Groups: the events between one cursor and the next, and the subscribers that receive them. */
import type { Delivery } from "./effects.js";
import type { ClosingFrame, Cursor, EventFrame, RowsFrame } from "./frames.js";

/** No request is sent for it. */
export const IDLE = 0;
export const GONE = -1;
export const LIVE = -2;
export const REFUSED = -3;

export type Subscriber = {
  readonly channel: string;
  /** Begins with the channel's rows, and has them again where it cannot resume. */
  readonly rows?: true | undefined;
  /** The viewer is present on the channel, one of members, while this subscriber is there. */
  readonly present?: true | undefined;
  /** All events up to here have been delivered to it; undefined starts at the server's current cursor. */
  at: Cursor | undefined;
  /** IDLE, LIVE, REFUSED, GONE, or the `ref` of the request that it waits for. */
  ref: number;
  fresh: boolean;
};

/** Those that are LIVE, or IDLE, or wait for one request. */
export const waiting = <S extends Subscriber>(subscribers: Iterable<S>, ref: number): S[] => [...subscribers].filter((s) => s.ref === ref);

/** The events of a group, of which its rows make the first; undefined if some are missing. */
export const eventsOf = (
  held: readonly (EventFrame | RowsFrame)[],
  { n, rows: size = 0, skipped = 0 }: ClosingFrame,
): readonly EventFrame[] | undefined => {
  const pages = held.filter((frame) => frame.type === "rows");
  const events = held.filter((frame) => frame.type === "event");
  const rows = pages.flatMap((page) => page.items);
  if (rows.length !== size || events.length !== n) return undefined;
  for (const { channel, key } of pages.slice(0, 1)) events.unshift({ type: "event", channel, id: undefined, content: ["rows", { rows, key, skipped }] });
  return events;
};

/** Each event once, with the subscribers of its channel. One that was skipped for a family has one id on all of its channels. */
export const deliver = <S extends Subscriber>(events: readonly EventFrame[], subscribers: readonly S[]): readonly Delivery<S>[] => {
  const channels = new Map<string, readonly [to: readonly S[], ids: Set<unknown>]>();
  const deliveries: Delivery<S>[] = [];
  for (const { channel, content, id } of events) {
    let known = channels.get(channel);
    if (!known) channels.set(channel, (known = [subscribers.filter((s) => s.channel === channel), new Set()]));
    const [to, ids] = known;
    if (content && to.length && !ids.has(id)) deliveries.push([content, to]);
    ids.add(id);
  }
  return deliveries;
};
