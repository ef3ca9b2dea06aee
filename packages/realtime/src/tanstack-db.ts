/**
 * TanStack DB (0.15 and newer): collections with the rows of channels.
 *
 * What one transaction changed becomes visible as one, also across collections: their commits run inside the publication of
 * a change of one more collection, and live queries run once that publication is over. So a row that moves from one
 * collection to another is never in neither, and never in both.
 */
import { type Collection, createCollection, type SyncConfig } from "@tanstack/db";
import type { Client } from "./options.js";
import { idOf, type Row } from "./collection.js";
import type { Payload, RowsName } from "./types.js";

/** A key in a collection: that of the row, or the JSON text of several fields. */
export type CollectionKey = string | number;

/** A row of a channel. Without a registration, an object with any fields. */
export type CollectionRow<C extends RowsName> = Payload<C> extends object ? Payload<C> : Record<string, unknown>;

/** Options for `createCollection`; spread them to add handlers: `{ ...rowsCollection(client, name), onInsert }`. */
export type RowsCollection<C extends RowsName> = {
  readonly id: string;
  readonly getKey: (row: CollectionRow<C>) => CollectionKey;
  readonly sync: SyncConfig<CollectionRow<C>, CollectionKey>;
};

/**
 * A collection of the rows that a channel has. It is ready once they have arrived for the first time, and
 * `preload()` rejects where the channel is refused. A reset replaces all rows as one change. `key` names the fields of the key,
 * and is needed only to insert before the rows have arrived.
 */
export function rowsCollection<C extends RowsName>(client: Client, channel: C, key: readonly string[] = []): RowsCollection<C> {
  const keyOf = (row: unknown): CollectionKey => {
    if (!key.length) throw new Error(`the rows of ${channel} have not arrived: await preload(), or name their key as the third argument`);
    return idOf(row as Row, key) as CollectionKey;
  };

  const sync: SyncConfig<CollectionRow<C>, CollectionKey>["sync"] = ({ begin, write, commit, truncate, markReady, markError }) => {
    const group = groupOf(client);
    const keys = new Set<CollectionKey>();
    let isReady = false;

    const end = () => {
      void commit(); // it is never aborted
      if (!isReady && key.length) markReady();
      isReady ||= key.length > 0;
    };
    const change = () => {
      if (!group.has(end)) begin();
      group.add(end);
    };
    const put = (row: Payload<C>) => {
      const id = keyOf(row);
      change();
      write({ type: keys.has(id) ? "update" : "insert", value: row as CollectionRow<C> });
      keys.add(id);
    };

    const unsubscribe = client.subscribe(channel, put, {
      onRows(state) {
        ({ key } = state);
        change();
        truncate();
        keys.clear();
        state.rows.forEach(put);
      },
      onGone(gone) {
        const id = keyOf(gone);
        if (!keys.delete(id)) return;
        change();
        write({ type: "delete", key: id });
      },
      onSkipped: () => undefined, // `onGone` was called with its key; the client counts it
      onError: (error) => {
        if (!isReady && error.code !== "rows_unreadable") markError(error);
      },
      onGroup: group.end,
    });
    return () => {
      group.delete(end);
      unsubscribe();
    };
  };

  return { id: channel, getKey: keyOf, sync: { sync, rowUpdateMode: "full" } };
}

/**
 * For a handler such as `onInsert`: wait until the rows of the transaction that was written are there, so that what was expected
 * stays in view until then. There is no time-out; what `written` rejects with rolls back.
 */
export const settling = async (client: Client, written: Promise<{ readonly xid: string }>): Promise<void> => {
  const { xid } = await written;
  await client.settled(xid);
};

/** The commits of one client's collections, until the end of a group. */
type Group = Set<() => void> & { end: () => void };
type Tick = { readonly id: 0; readonly n: number };

const groups = new WeakMap<Client, Group>();

const groupOf = (client: Client): Group => {
  const known = groups.get(client);
  if (known) return known;
  const group: Group = Object.assign(new Set<() => void>(), { end: () => commitAll() });
  const commitAll = () => {
    const commits = [...group];
    group.clear();
    for (const commit of commits) commit();
  };
  let publish = commitAll;
  const ticks: Collection<Tick, 0> = createCollection<Tick, 0>({
    id: "flowcraft-groups",
    getKey: ({ id }) => id,
    startSync: true,
    sync: {
      rowUpdateMode: "full",
      sync({ begin, write, commit, markReady }) {
        let n = 0;
        publish = () => {
          begin();
          write({ type: n ? "update" : "insert", value: { id: 0, n: n++ } });
          void commit();
        };
        markReady();
      },
    },
  });
  ticks.subscribeChanges(commitAll);
  group.end = () => {
    if (group.size > 1) publish();
    else commitAll();
  };
  groups.set(client, group);
  return group;
};
