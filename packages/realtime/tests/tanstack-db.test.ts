/** Collections of TanStack DB over channels of rows: whole transactions, optimistic changes without a flash, resets as one. */
import { createCollection, createLiveQueryCollection, eq, type ChangeMessage } from "@tanstack/db";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { rowsCollection, settling } from "../src/tanstack-db.js";
import { createTestRealtime, type TestRealtime } from "../src/testing.js";

type Task = { readonly id: number; readonly team: number; readonly title: string };
const task = (id: number, team: number, title = `t${id}`): Task => ({ id, team, title });
const SEVEN = "task_rows.7";
const EIGHT = "task_rows.8";

let realtime: TestRealtime;
beforeEach(() => {
  realtime = createTestRealtime();
});
afterEach(() => realtime.close());

type Handlers = { onInsert?: (mutation: never) => Promise<void>; onUpdate?: (mutation: never) => Promise<void> };
const collectionOf = (channel: string, handlers: Handlers = {}) =>
  createCollection<Task>({
    ...(rowsCollection(realtime.client, channel) as unknown as { id: string; getKey: (row: Task) => number; sync: never }),
    startSync: true,
    ...(handlers as object),
  });
type Tasks = ReturnType<typeof collectionOf>;
const titles = (collection: { readonly toArray: readonly Task[] }) => collection.toArray.map(({ id, title }) => `${id} ${title}`).sort();
const sorted = (rows: Iterable<Task>) => [...rows].map(({ id, team, title }) => ({ id, team, title })).sort((a, b) => a.id - b.id);

/** Every publication of a collection, as the changes that it had. */
const watch = (collection: Tasks) => {
  const seen: string[][] = [];
  const note = (changes: ChangeMessage<Task>[]) => seen.push(changes.map(({ type, key }) => `${type} ${String(key)}`));
  collection.subscribeChanges(note, { includeInitialState: true });
  return seen;
};

describe("the rows of a channel", () => {
  test("are in the collection, and follow each commit", async () => {
    await realtime.rows(SEVEN, [task(1, 7), task(2, 7)]);
    const tasks = collectionOf(SEVEN);
    const ready = tasks.preload();
    await realtime.settle();
    await ready;
    expect(titles(tasks)).toEqual(["1 t1", "2 t2"]);
    const seen = watch(tasks);
    await realtime.rows(SEVEN, [task(1, 7, "new"), task(3, 7)]);
    expect(titles(tasks)).toEqual(["1 new", "3 t3"]);
    expect(seen.map((changes) => changes.sort())).toEqual([["insert 1", "insert 2"], ["delete 2", "insert 3", "update 1"]]);
  });

  test("an empty list is ready too", async () => {
    const tasks = collectionOf(SEVEN);
    await realtime.settle();
    expect([tasks.status, tasks.size]).toEqual(["ready", 0]);
  });

  test("a reset replaces all rows as one change, and nothing is empty meanwhile", async () => {
    await realtime.rows(SEVEN, [task(1, 7), task(2, 7)]);
    const tasks = collectionOf(SEVEN);
    await realtime.settle();
    const sizes: number[] = [];
    tasks.subscribeChanges(() => sizes.push(tasks.size));
    await realtime.disconnect();
    await realtime.rows(SEVEN, [task(2, 7, "other"), task(3, 7), task(4, 7)]);
    await realtime.reset();
    await realtime.reconnect();
    await realtime.settle();
    expect(titles(tasks)).toEqual(["2 other", "3 t3", "4 t4"]);
    expect(sizes).not.toContain(0);
  });

  test("a channel that is refused rejects preload with the reason", async () => {
    await realtime.refuse(SEVEN);
    const tasks = collectionOf(SEVEN);
    const failed = expect(tasks.preload()).rejects.toMatchObject({ code: "forbidden" });
    await realtime.settle();
    await failed;
    expect(tasks.status).toBe("error");
  });

  test("a collection that is cleaned up leaves no subscription, and may begin again", async () => {
    await realtime.rows(SEVEN, [task(1, 7)]);
    const tasks = collectionOf(SEVEN);
    await realtime.settle();
    await tasks.cleanup();
    await realtime.settle();
    expect(realtime.subscriptions()).toEqual([]);
    await realtime.rows(SEVEN, [task(5, 7)]);
    tasks.startSyncImmediate();
    await realtime.settle();
    expect(titles(tasks)).toEqual(["5 t5"]);
  });

  test("an insert before there are rows is an error that says what to do", () => {
    const tasks = collectionOf(SEVEN, { onInsert: () => Promise.resolve() });
    expect(() => tasks.insert(task(1, 7))).toThrow("await preload(), or name their key");
  });

  test("several fields are one key", async () => {
    await realtime.rows("seat_rows", [{ room: "a", number: 1 }, { room: "a", number: 2 }] as never, ["room", "number"]);
    const seats = createCollection<{ room: string; number: number }>({
      ...(rowsCollection(realtime.client, "seat_rows") as never as { getKey: () => string; sync: never }),
      startSync: true,
    });
    await realtime.settle();
    expect([...seats.keys()]).toEqual(['["a",1]', '["a",2]']);
    await realtime.gone("seat_rows", { room: "a", number: 1 });
    expect([...seats.keys()]).toEqual(['["a",2]']);
  });
});

describe("one transaction", () => {
  const both = async () => {
    await realtime.rows(SEVEN, [task(1, 7)]);
    await realtime.rows(EIGHT, [task(2, 8)]);
    const [seven, eight] = [collectionOf(SEVEN), collectionOf(EIGHT)];
    const all = createLiveQueryCollection({
      startSync: true,
      query: (q) => q.from({ a: seven }).fullJoin({ b: eight }, ({ a, b }) => eq(a.id, b.id)).select(({ a, b }) => ({ a: a.id, b: b.id })),
    });
    await realtime.settle();
    await all.preload();
    return { seven, eight, all };
  };

  test("a row that moves between two collections is never in neither and never in both", async () => {
    const { all } = await both();
    const shown: string[] = [];
    const show = () =>
      all.toArray
        .map(({ a, b }) => (a !== undefined && b !== undefined ? `${a} twice` : a !== undefined ? `${a} in 7` : `${String(b)} in 8`))
        .sort()
        .join(", ");
    all.subscribeChanges(() => shown.push(show()));
    await realtime.commit([
      { channel: SEVEN, gone: { id: 1 } },
      { channel: EIGHT, payload: task(1, 8) },
    ]);
    expect(shown).toEqual(["1 in 8, 2 in 8"]);
    await realtime.commit([
      { channel: SEVEN, payload: task(1, 7) },
      { channel: SEVEN, payload: task(2, 7) },
      { channel: EIGHT, gone: { id: 1 } },
      { channel: EIGHT, gone: { id: 2 } },
    ]);
    expect(shown.slice(1)).toEqual(["1 in 7, 2 in 7"]);
  });

  test("random transactions over two collections: each live query sees each commit once, and only those", async () => {
    const move = fc.record({ id: fc.integer({ min: 1, max: 4 }), team: fc.constantFrom(7, 8, 0) });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(move, { minLength: 1, maxLength: 4 }), { maxLength: 8 }), async (transactions) => {
        realtime.close();
        realtime = createTestRealtime();
        const { seven, eight, all } = await both();
        const where = new Map([[1, 7], [2, 8]]);
        const expected = new Set([JSON.stringify([...where].sort())]);
        const wrong: string[] = [];
        all.subscribeChanges(() => {
          const now = all.toArray.flatMap(({ a, b }) => [...(a === undefined ? [] : [[a, 7]]), ...(b === undefined ? [] : [[b, 8]])]);
          if (!expected.has(JSON.stringify(now.sort()))) wrong.push(JSON.stringify(now));
        });
        for (const transaction of transactions) {
          const events = transaction.flatMap(({ id, team }) => {
            const before = where.get(id) ?? 0;
            if (team) where.set(id, team);
            else where.delete(id);
            const left = before && before !== team ? [{ channel: `task_rows.${before}`, gone: { id } }] : [];
            return [...left, ...(team ? [{ channel: `task_rows.${team}`, payload: task(id, team) }] : [])];
          });
          expected.add(JSON.stringify([...where].sort()));
          if (events.length) await realtime.commit(events);
        }
        expect(wrong).toEqual([]);
        expect(sorted(seven.toArray).map(({ id }) => id)).toEqual([...where].filter(([, team]) => team === 7).map(([id]) => id).sort());
        expect(sorted(eight.toArray).map(({ id }) => id)).toEqual([...where].filter(([, team]) => team === 8).map(([id]) => id).sort());
        await Promise.all([all.cleanup(), seven.cleanup(), eight.cleanup()]);
      }),
      { numRuns: 40 },
    );
  });
});

describe("an optimistic change", () => {
  test("stays in view until its own rows are there, without a flash", async () => {
    await realtime.rows(SEVEN, [task(1, 7)]);
    const tasks: Tasks = collectionOf(SEVEN, {
      onUpdate: () => settling(realtime.client, realtime.broadcast(SEVEN, task(1, 7, "as the server has it"))),
    });
    await realtime.settle();
    const seen: (string | undefined)[] = [];
    tasks.subscribeChanges(() => seen.push(tasks.get(1)?.title));
    const done = tasks
      .update(1, (draft: { title: string }) => {
        draft.title = "as the page expects it";
      })
      .when("settled");
    expect(tasks.get(1)?.title).toBe("as the page expects it");
    await realtime.settle();
    await done;
    expect(seen).toEqual(["as the page expects it", "as the server has it"]);
  });

  test("an insert whose key the server keeps is never nowhere and never twice", async () => {
    const tasks: Tasks = collectionOf(SEVEN, { onInsert: () => settling(realtime.client, realtime.broadcast(SEVEN, task(9, 7))) });
    await realtime.settle();
    const sizes: number[] = [];
    tasks.subscribeChanges(() => sizes.push(tasks.size));
    const done = tasks.insert(task(9, 7)).when("settled");
    await realtime.settle();
    await done;
    expect(new Set(sizes)).toEqual(new Set([1]));
  });

  test("is rolled back with the reason when it is refused", async () => {
    await realtime.rows(SEVEN, [task(1, 7)]);
    const tasks: Tasks = collectionOf(SEVEN, { onUpdate: () => settling(realtime.client, Promise.reject(new Error("no"))) });
    await realtime.settle();
    const done = tasks
      .update(1, (draft: { title: string }) => {
        draft.title = "mine";
      })
      .when("settled");
    await expect(done).rejects.toThrow("no");
    expect(titles(tasks)).toEqual(["1 t1"]);
  });
});
