/** Rows: the rows that a channel has now, kept as one list whose rows change their identity only when they change. */
import type { Client } from "./options.js";
import { schedule } from "./state.js";
import type { Payload, RowKey, RowsName } from "./types.js";

/** The rows of a channel, sorted by their key. */
export type RowList<C extends RowsName> = readonly Payload<C>[] & {
  /** The row with a key: its value, or an object with the key's fields if there are several. */
  // eslint-disable-next-line @typescript-eslint/no-redundant-type-constituents -- `unknown` only where no channel is registered
  readonly get: (key: RowKey<C>) => Payload<C> | undefined;
};

export type RowsSnapshot<C extends RowsName> = {
  /** Undefined until they have arrived for the first time. */
  readonly rows: RowList<C> | undefined;
  /** Whether `rows` are known to be all that is committed. */
  readonly fresh: boolean;
  /** The reason if not: the channel was refused, or its rows cannot be read now (which is tried again). */
  readonly error: unknown;
  /** Whether rows have not arrived, and may still. */
  readonly loading: boolean;
  /**
   * How many rows of the table were found that cannot be sent: too large, or not of the declared type. Of a channel of members,
   * all while they are counted and not listed.
   */
  readonly skipped: number;
};

/** A store for any framework, as `ChannelStore` is. One subscription serves all that use the same channel of a client. */
export type RowsStore<C extends RowsName> = {
  /** Calls `run` now and after each change; returns the function that unsubscribes. */
  readonly subscribe: (run: (snapshot: RowsSnapshot<C>) => void) => () => void;
  readonly get: () => RowsSnapshot<C>;
};

export type Row = Readonly<Record<string, unknown>>;
/** The value of a key, or the JSON text of several. */
type Id = unknown;

/** The stores with subscribers. */
const stores = new WeakMap<Client, Map<string, object>>();

export function rowsStore<C extends RowsName>(client: Client, channel: C | null): RowsStore<C> {
  return sharedStore(client, channel);
}

/** The store of a channel; with `present`, the viewer is present there while it has subscribers. */
export const sharedStore = <C extends RowsName>(client: Client, channel: C | null, present = false): RowsStore<C> => {
  const shared = stores.get(client) ?? new Map<string, object>();
  stores.set(client, shared);
  const name = `${present ? "+" : ""}${channel}`;
  const own = createStore(client, channel, shared, name, present);
  // The one that has subscribers serves all. A store that is only created, as in a render that React gives up, leaves nothing.
  const active = () => ((channel === null ? undefined : shared.get(name)) as RowsStore<C> | undefined) ?? own;
  return { get: () => active().get(), subscribe: (run) => active().subscribe(run) };
};

const createStore = <C extends RowsName>(
  client: Client,
  channel: C | null,
  shared: Map<string, object>,
  name: string,
  present: boolean,
): RowsStore<C> => {
  type State = RowsSnapshot<C>;
  const listeners = new Set<() => void>();
  const blank: State = { rows: undefined, fresh: false, error: undefined, loading: channel !== null, skipped: 0 };
  let shown = blank;
  let next = blank;
  /** By key; undefined until the rows have arrived. */
  let rows: Map<Id, Row> | undefined;
  let key: readonly string[] = [];
  /** The rows that came or left since the last publication, by key. */
  const changed = new Map<Id, Row>();
  /** Whether all may have. */
  let isReplaced = false;
  /** The rows that were left out of the state, and those that were skipped since. */
  let leftOut = 0;
  const skipped = new Set<Id>();
  let turn = {};
  let unsubscribe: (() => void) | undefined;
  let forget: () => void;

  const publish = () => {
    if (rows && (isReplaced || changed.size)) next = { ...next, rows: listOf<C>(rows, key, changed, isReplaced ? undefined : next.rows) };
    changed.clear();
    isReplaced = false;
    shown = next;
    for (const listener of listeners) listener();
  };

  const set = (change: Partial<State>) => {
    next = { ...next, skipped: leftOut + skipped.size, ...change };
    schedule(publish);
  };

  const put = (row: Row) => {
    const id = idOf(row, key);
    skipped.delete(id);
    if (isSame(rows?.get(id), row)) return;
    rows?.set(id, row);
    changed.set(id, row);
    set({});
  };

  const follow = (channel: C) => {
    let last: Id;
    return client.subscribe(channel, (row) => put(row as Row), {
      present,
      onRows(state) {
        const before = rows;
        ({ key, skipped: leftOut } = state);
        skipped.clear();
        rows = new Map();
        for (const row of state.rows as readonly Row[]) {
          const id = idOf(row, key);
          const old = before?.get(id);
          rows.set(id, old && isSame(old, row) ? old : row);
        }
        isReplaced = true;
        set({ loading: false, error: undefined });
      },
      onGone(gone) {
        last = idOf(gone, key);
        skipped.delete(last);
        if (rows?.delete(last)) changed.set(last, gone);
        set({});
      },
      // `onGone` was called with its key.
      onSkipped: () => {
        skipped.add(last);
        set({});
      },
      onError: (error) => set({ error, loading: next.loading && error.code === "rows_unreadable" }),
      onFresh: (fresh) => set(fresh ? { fresh, error: undefined } : { fresh }),
    });
  };

  /** The first listener has subscribed. */
  const start = (channel: C) => {
    if (!shared.has(name)) shared.set(name, store);
    forget = client.connection.subscribe(() => {
      const { status, code } = client.connection.get();
      if (status !== "stopped" || code !== undefined) return;
      rows = undefined;
      leftOut = 0;
      skipped.clear();
      set(blank); // after `close()`
    });
    // Not for a listener that unsubscribes at once: Svelte's `get`, or the first of StrictMode's two mounts.
    const mine = turn;
    queueMicrotask(() => {
      if (mine === turn) unsubscribe = follow(channel);
    });
  };

  const stop = () => {
    if (shared.get(name) === store) shared.delete(name);
    turn = {};
    forget();
    unsubscribe?.();
    unsubscribe = undefined;
    set({ fresh: false });
  };

  const store: RowsStore<C> = {
    get: () => shown,
    subscribe(run) {
      const listener = () => run(shown);
      if (!listeners.size && channel !== null) start(channel);
      listeners.add(listener);
      run(shown);
      return () => {
        if (listeners.delete(listener) && !listeners.size && channel !== null) stop();
      };
    },
  };
  return store;
};

export const idOf = (row: Row, key: readonly string[]): Id => {
  const [only = "", ...more] = key;
  return more.length ? JSON.stringify(key.map((field) => row[field])) : row[only];
};

/** Both are JSON of one server, which writes the fields of a row in one order. */
const isSame = (a: Row | undefined, b: Row) => a !== undefined && JSON.stringify(a) === JSON.stringify(b);

const compare = (key: readonly string[]) => (a: Row, b: Row) => {
  for (const field of key) {
    const x = a[field] as number; // or a text: `<` compares both
    const y = b[field] as number;
    if (x !== y) return x < y ? -1 : 1;
  }
  return 0;
};

/** The place of a key in a sorted list, and whether a row with it is there. */
const placeOf = (list: readonly Row[], wanted: Row, order: ReturnType<typeof compare>) => {
  let place = 0;
  for (let end = list.length; place < end; ) {
    const middle = (place + end) >> 1;
    const row = list[middle];
    if (row && order(row, wanted) < 0) place = middle + 1;
    else end = middle;
  }
  const row = list[place];
  return { place, row: row && !order(row, wanted) ? row : undefined };
};

/**
 * The rows as a list that does not change. From the list before, where few of them have: to sort 10,000 rows takes longer than a
 * frame has.
 */
const listOf = <C extends RowsName>(
  rows: ReadonlyMap<Id, Row>,
  key: readonly string[],
  changed: ReadonlyMap<Id, Row>,
  before: readonly unknown[] | undefined,
): RowList<C> => {
  const order = compare(key);
  const [only = "", ...more] = key;
  let list: Row[];
  if (before && changed.size < before.length / 8) {
    list = before.slice() as Row[];
    for (const [id, known] of changed) {
      const row = rows.get(id);
      const { place, row: old } = placeOf(list, known, order);
      list.splice(place, old ? 1 : 0, ...(row ? [row] : []));
    }
  } else list = [...rows.values()].sort(order);
  const get = (wanted: unknown) => placeOf(list, more.length ? (wanted as Row) : { [only]: wanted }, order).row;
  // Not a field of the list: two lists with the same rows are equal.
  return Object.defineProperty(list, "get", { value: get }) as unknown as RowList<C>;
};
