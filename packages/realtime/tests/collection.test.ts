/** The list of a channel's rows: what follows from the list before is the list that sorting all rows makes. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Client } from "../src/options.js";
import { rowsStore } from "../src/collection.js";
import { flush } from "../src/state.js";

type Row = Readonly<Record<string, unknown>>;
type Handlers = { onRows: (state: { rows: Row[]; key: string[]; skipped: number }) => void; onGone: (key: Row) => void };

/** A store whose subscription is in the hands of the test. */
const opened = async () => {
  const parts: { put?: (row: Row) => void; handlers?: Handlers } = {};
  const client = {
    connection: { subscribe: () => () => undefined, get: () => ({ status: "open", code: undefined }) },
    subscribe: (_: string, put: (row: Row) => void, handlers: Handlers) => {
      Object.assign(parts, { put, handlers });
      return () => undefined;
    },
  };
  const store = rowsStore(client as unknown as Client, "task_rows");
  store.subscribe(() => undefined);
  await Promise.resolve();
  const { put, handlers } = parts;
  if (!put || !handlers) throw new Error("the store has not subscribed");
  return { store, put, handlers };
};

const KEYS = {
  numbers: { key: ["id"], of: (n: number): Row => ({ id: n - 200 }) },
  texts: { key: ["id"], of: (n: number): Row => ({ id: `${n % 7}é${n}` }) },
  "several fields": { key: ["team", "id"], of: (n: number): Row => ({ team: n % 5, id: `n${n}` }) },
};
const change = fc.record({ n: fc.nat(399), title: fc.option(fc.nat(3)), ends: fc.boolean() });

test.each(Object.entries(KEYS))("with a key of %s, after any changes, few or many at a time", async (_, { key, of }) => {
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 300 }), async (changes) => {
      const { store, put, handlers } = await opened();
      const rows = new Map<number, Row>();
      const textOf = (row: Row) => JSON.stringify(key.map((field) => row[field]));
      for (let n = 0; n < 400; n += 2) rows.set(n, { ...of(n), title: 0 });
      handlers.onRows({ rows: [...rows.values()].reverse(), key, skipped: 0 });
      flush();
      for (const { n, title, ends } of changes) {
        if (title === null) {
          rows.delete(n);
          handlers.onGone(of(n));
        } else {
          const row = { ...of(n), title };
          rows.set(n, row);
          put(row);
        }
        if (!ends) continue;
        flush();
        const list = store.get().rows as unknown as Row[] & { get: (key: unknown) => Row | undefined };
        const wanted = [...rows.values()].sort((a, b) => {
          const field = key.find((name) => a[name] !== b[name]) ?? "";
          return (a[field] as number) < (b[field] as number) ? -1 : 1;
        });
        expect([...list]).toEqual(wanted);
        expect(new Set(list.map(textOf)).size).toBe(list.length);
        const asked = of(n);
        expect(list.get(key.length > 1 ? asked : asked["id"])).toEqual(rows.get(n));
        expect(list.get("none")).toBeUndefined();
      }
    }),
    { numRuns: 60 },
  );
});

test("a list that is shown does not change, and a row that did not change is the same object", async () => {
  const { store, put, handlers } = await opened();
  const all = Array.from({ length: 100 }, (_, id): Row => ({ id, title: "a" }));
  handlers.onRows({ rows: all, key: ["id"], skipped: 0 });
  flush();
  const before = store.get().rows as unknown as readonly Row[];
  put({ id: 50, title: "b" });
  handlers.onGone({ id: 99 });
  flush();
  const after = store.get().rows as unknown as readonly Row[];
  expect([before.length, before[50], after.length, after[50]]).toEqual([100, all[50], 99, { id: 50, title: "b" }]);
  expect(after.filter((row) => !all.includes(row))).toEqual([{ id: 50, title: "b" }]);
});
