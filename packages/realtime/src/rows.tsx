"use client";
/** React: the rows of a channel. */
import { useMemo, useState, useSyncExternalStore } from "react";
import { type RowList, rowsStore, type RowsSnapshot } from "./collection.js";
import { useClient } from "./react.js";
import type { Payload, RowKey, RowsName } from "./types.js";

export type { RowList, RowsSnapshot } from "./collection.js";

export type RowsOptions<C extends RowsName> = {
  /** Only these rows. */
  readonly where?: (row: Payload<C>) => boolean;
  /** The order, as for `Array.sort`; by default that of the key. */
  readonly sort?: (a: Payload<C>, b: Payload<C>) => number;
};

/**
 * The rows that a channel has now, exactly: `select … where …` at the last commit that has arrived. A row that did not
 * change is the same object as before, and a change that `where` leaves out does not render the component.
 */
export function useRows<C extends RowsName>(channel: C | null, options: RowsOptions<C> = {}): RowsSnapshot<C> {
  const client = useClient();
  const store = useMemo(() => rowsStore(client, channel), [client, channel]);
  const [view] = useState(createView<C>);
  const get = () => view(store.get(), options);
  // A boundary may be hydrated when the rows of another component have arrived already.
  return useSyncExternalStore(store.subscribe, get, () => (channel === null ? OFF : BEFORE));
}

const OFF = { rows: undefined, fresh: false, error: undefined, loading: false, skipped: 0 };
const BEFORE = { ...OFF, loading: true };

/** Selects and sorts; the result keeps its identity while it shows the same. */
const createView = <C extends RowsName>() => {
  let from: RowsSnapshot<C> | undefined;
  let last: RowsSnapshot<C> | undefined;
  let by: RowsOptions<C> = {};

  return (snapshot: RowsSnapshot<C>, options: RowsOptions<C>): RowsSnapshot<C> => {
    const { where, sort } = options;
    if (last && from === snapshot && by.where === where && by.sort === sort) return last;
    const rows = from?.rows === snapshot.rows && by.where === where && by.sort === sort ? last?.rows : select(snapshot.rows, options);
    const kept = last?.rows && rows && isEqual(last.rows, rows) ? last.rows : rows;
    from = snapshot;
    by = options;
    const { fresh, error, loading, skipped } = snapshot;
    const isKept = last && kept === last.rows && fresh === last.fresh && error === last.error && loading === last.loading && skipped === last.skipped;
    return (last = last && isKept ? last : { ...snapshot, rows: kept });
  };
};

const select = <C extends RowsName>(rows: RowList<C> | undefined, { where, sort }: RowsOptions<C>): RowList<C> | undefined => {
  if (!rows || (!where && !sort)) return rows;
  const list = where ? rows.filter(where) : [...rows];
  if (sort) list.sort(sort); // stable: rows that are equal by `sort` stay in the order of their key
  const get = (key: RowKey<C>) => {
    const row = rows.get(key);
    return row !== undefined && (!where || where(row)) ? row : undefined;
  };
  return Object.defineProperty(list, "get", { value: get }) as unknown as RowList<C>;
};

const isEqual = (a: readonly unknown[], b: readonly unknown[]) => a.length === b.length && a.every((row, n) => row === b[n]);
