/** Rows that are gone and skipped events, in the states that are kept from a channel. */
import { QueryClient, QueryObserver } from "@tanstack/query-core";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { channelQuery, followQueries } from "../src/query.js";
import { type ChannelStateOptions, channelStore } from "../src/store.js";
import { createTestRealtime, type TestRealtime } from "../src/testing.js";

type Row = { readonly id: number };
type Options = ChannelStateOptions<string, readonly Row[]>;
let realtime: TestRealtime;
let table: Row[];
const load = vi.fn();
const reduce: Options["reduce"] = (rows, row) => [...rows, row as Row];
const gone: Options["gone"] = (rows, key) => rows.filter((row) => row.id !== key["id"]);

beforeEach(() => {
  realtime = createTestRealtime({ onError: () => undefined });
  table = [{ id: 1 }, { id: 2 }];
  load.mockReset();
  load.mockImplementation(() => Promise.resolve({ data: [...table], cursor: realtime.cursor() }));
});
afterEach(() => realtime.close());

const shown = async (options: Pick<Options, "gone">) => {
  const store = channelStore(realtime.client, "runs.7", { load, reduce, ...options });
  const leave = store.subscribe(() => undefined);
  await realtime.settle();
  return { rows: () => store.get().data, fresh: () => store.get().fresh, leave };
};

test("a row that is gone is removed by `gone`, in the order of the events", async () => {
  const { rows, fresh, leave } = await shown({ gone });
  await realtime.commit([
    { channel: "runs.7", payload: { id: 3 } },
    { channel: "runs.7", gone: { id: 1 } },
    { channel: "runs.7", gone: { id: 3 } },
    { channel: "runs.7", payload: { id: 3 } },
  ]);
  expect([rows(), fresh(), load.mock.calls.length]).toEqual([[{ id: 2 }, { id: 3 }], true, 1]);
  leave();
});

test("without `gone`, and after a skipped event, the state is stale until it has been loaded again", async () => {
  for (const change of ["gone", "skip"] as const) {
    load.mockClear();
    const { rows, fresh, leave } = await shown(change === "gone" ? {} : { gone });
    table = table.slice(1);
    await (change === "gone" ? realtime.gone("runs.7", { id: 1 }) : realtime.skip("runs.7"));
    expect([load.mock.calls.length, fresh()]).toEqual([1, false]);
    await vi.waitFor(() => expect(load).toHaveBeenCalledTimes(2), 5000);
    await realtime.settle();
    expect([rows(), fresh()]).toEqual([table, true]);
    leave();
  }
});

test("a query removes a row that is gone, and loads again without `gone` or after a skipped event", async () => {
  const queries = new QueryClient();
  const end = followQueries(realtime.client, queries);
  const observed = new QueryObserver(queries, channelQuery("runs.7", { queryKey: ["a"], load, reduce, gone }));
  const other = new QueryObserver(queries, channelQuery("runs.7", { queryKey: ["b"], load, reduce }));
  const leave = [observed, other].map((observer) => observer.subscribe(() => undefined));
  await realtime.settle();
  expect(load).toHaveBeenCalledTimes(2);
  table = table.slice(1);
  await realtime.gone("runs.7", { id: 1 });
  expect(observed.getCurrentResult().data).toEqual(table);
  expect([other.getCurrentResult().data, load.mock.calls.length]).toEqual([table, 3]);
  await realtime.skip("runs.7");
  expect(load).toHaveBeenCalledTimes(5);
  for (const done of leave) done();
  end();
});
