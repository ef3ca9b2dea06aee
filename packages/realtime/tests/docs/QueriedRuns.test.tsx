// @vitest-environment happy-dom
import { followQueries, type Positioned } from "@flowcraft/realtime/query";
import { createTestRealtime, type TestRealtime } from "@flowcraft/realtime/testing";
import { dehydrate, type DehydratedState, hydrate, QueryClient, QueryClientProvider, QueryObserver } from "@tanstack/react-query";
import { act, cleanup, render } from "@testing-library/react";
import { StrictMode } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Loaded, Runs } from "./api";
import { QueriedRuns } from "./QueriedRuns";
import { runsQuery } from "./queries";
import type { RunUpdate } from "./realtime.gen";

let realtime: TestRealtime;
let queryClient: QueryClient;
let forget: () => void;
/** Requests that wait for an answer, each with what the database said when it was asked. */
let requests: { readonly read: Loaded; readonly answer: () => Promise<void>; readonly fail: () => Promise<void> }[];
let rows: Runs;

const run = (run_id: string, status: RunUpdate["status"]): RunUpdate => ({ type: "RunUpdate", run_id, status });

beforeEach(() => {
  realtime = createTestRealtime({ act });
  queryClient = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  forget = followQueries(realtime.client, queryClient);
  requests = [];
  rows = [run("1", "queued")];
  vi.stubGlobal("fetch", () => {
    const read = { data: rows, cursor: realtime.cursor() };
    return new Promise<Response>((resolve, reject) => {
      const answer = async () => {
        resolve(Response.json(read));
        await settled();
      };
      const fail = async () => {
        reject(new Error("offline"));
        await settled();
      };
      requests.push({ read, answer, fail });
    });
  });
});
afterEach(() => {
  cleanup();
  forget();
  realtime.close();
  queryClient.clear();
  vi.unstubAllGlobals();
});

/** Everything has happened, and what TanStack puts off to the next turn of the loop, too. */
const settled = async () => {
  await realtime.settle();
  await act(() => new Promise((resolve) => setTimeout(resolve)));
  await realtime.settle();
};

const mount = () => {
  const { container, unmount } = render(
    <StrictMode>
      <QueryClientProvider client={queryClient}>
        <QueriedRuns />
      </QueryClientProvider>
    </StrictMode>,
  );
  return { unmount, shown: () => [...container.querySelectorAll("li")].map((li) => li.textContent) };
};
const commit = async (...changed: readonly RunUpdate[]) => {
  const others = rows.filter((row) => changed.every(({ run_id }) => run_id !== row.run_id));
  rows = [...changed].reverse().concat(others);
  await realtime.commit(changed.map((payload) => ({ channel: "run_update", payload })));
  await settled();
};
const answer = async (index = 0) => {
  const [request] = requests.splice(index, 1);
  await request?.answer();
};

test("what is loaded is followed, under StrictMode with one load and one subscription", async () => {
  const { shown } = mount();
  expect(requests).toHaveLength(1);
  await answer();
  expect(shown()).toEqual(["1 queued"]);
  await commit(run("1", "running"), run("2", "queued"));
  expect(shown()).toEqual(["2 queued", "1 running"]);
  expect(realtime.subscriptions()).toEqual(["run_update"]);
});

test("events that are committed while it loads are neither lost nor applied twice", async () => {
  const { shown } = mount();
  await commit(run("1", "failed"));
  await answer(); // it was read before
  expect(shown()).toEqual(["1 failed"]);
});

test("a refetch that was read before an event does not undo it", async () => {
  const { shown } = mount();
  await answer();
  void queryClient.invalidateQueries({ queryKey: ["runs"] });
  await settled();
  const seen: unknown[] = [];
  queryClient.getQueryCache().subscribe(() => seen.push(queryClient.getQueryData<Positioned<Runs>>(["runs"])?.data[0]?.status));
  await commit(run("1", "failed"));
  await answer();
  expect(shown()).toEqual(["1 failed"]);
  expect(seen).not.toContain("running");
  expect(seen.slice(seen.indexOf("failed"))).not.toContain("queued");
  expect(queryClient.isFetching()).toBe(0);
});

test("a refetch that is read and told late is brought up to date before it is shown", async () => {
  const { shown } = mount();
  await answer();
  await realtime.disconnect();
  await commit(run("1", "running"));
  void queryClient.refetchQueries();
  await settled();
  await commit(run("1", "failed"));
  await answer();
  expect(shown()).toEqual(["1 running"]); // offline, a load is all that there is
  await realtime.reconnect();
  await settled();
  expect(shown()).toEqual(["1 failed"]);
});

test("the answer to a request that was cancelled is nobody's, however late it comes", async () => {
  const { shown } = mount();
  await answer();
  void queryClient.refetchQueries();
  await settled();
  await commit(run("1", "running"));
  void queryClient.refetchQueries(); // cancels the first
  await settled();
  await commit(run("1", "failed"));
  await answer(1);
  await answer(0);
  await settled();
  expect(shown()).toEqual(["1 failed"]);
  expect(realtime.subscriptions()).toEqual(["run_update"]);
});

test("after a reset it is loaded again", async () => {
  const { shown } = mount();
  await answer();
  rows = [run("7", "succeeded")];
  await realtime.reset();
  await settled();
  expect(shown()).toEqual(["1 queued"]);
  await answer();
  expect(shown()).toEqual(["7 succeeded"]);
  await commit(run("7", "failed"));
  expect(shown()).toEqual(["7 failed"]);
});

test("who leaves follows nothing; who comes back within the cache's time catches up without loading", async () => {
  const { unmount } = mount();
  await answer();
  unmount();
  await settled();
  expect(realtime.subscriptions()).toEqual([]);
  await commit(run("1", "failed"));
  const { shown } = mount();
  await settled();
  expect(shown()).toEqual(["1 failed"]);
  expect(requests).toEqual([]);
});

test("what a server has rendered is followed from its own cursor", async () => {
  const onServer = new QueryClient();
  const prefetched = onServer.query(runsQuery);
  await answer();
  await prefetched;
  const sent = JSON.stringify(dehydrate(onServer));
  onServer.clear();
  await commit(run("1", "failed"));
  hydrate(queryClient, JSON.parse(sent) as DehydratedState);
  const { shown } = mount();
  await settled();
  expect(shown()).toEqual(["1 failed"]);
  expect(requests).toEqual([]);
});

test("an optimistic write stands until an event or a load says otherwise, and loses no event", async () => {
  const { shown } = mount();
  await answer();
  act(() => {
    queryClient.setQueryData<Positioned<Runs>>(["runs"], (old) => old && { ...old, data: [run("?", "queued"), ...old.data] });
  });
  await commit(run("1", "failed"));
  expect(shown()).toEqual(["1 failed", "? queued"]);
  void queryClient.invalidateQueries();
  await settled();
  await answer();
  expect(shown()).toEqual(["1 failed"]);
});

test("a refused channel leaves queries that load and do not follow", async () => {
  const { shown } = mount();
  await answer();
  await realtime.refuse("run_update");
  rows = [run("1", "failed")];
  void queryClient.refetchQueries();
  await settled();
  await answer();
  expect(shown()).toEqual(["1 failed"]);
});

test("a load that fails is an error of the query, and what is shown stays and is followed", async () => {
  const { shown } = mount();
  await answer();
  void queryClient.refetchQueries();
  await settled();
  await requests[0]?.fail();
  expect(queryClient.getQueryState(["runs"])?.status).toBe("error");
  await commit(run("1", "failed"));
  expect(shown()).toEqual(["1 failed"]);
});

test("whoever hears that an event was applied may write another query, which is followed too", async () => {
  const other = { ...runsQuery, queryKey: ["other"], enabled: false };
  const leave = new QueryObserver(queryClient, other).subscribe(() => undefined);
  const forgetCache = queryClient.getQueryCache().subscribe(({ type, query }) => {
    if (type !== "updated" || query.queryHash !== '["runs"]' || queryClient.getQueryData(["other"])) return;
    queryClient.setQueryData<Positioned<Runs>>(["other"], { data: [], cursor: realtime.cursor() });
  });
  mount();
  await answer();
  queryClient.removeQueries({ queryKey: ["other"] });
  leave();
  const leaveAgain = new QueryObserver(queryClient, other).subscribe(() => undefined);
  await commit(run("1", "running")); // applied, heard of, and the other is written
  await commit(run("2", "queued"));
  expect(queryClient.getQueryData<Positioned<Runs>>(["other"])?.data).toEqual([run("2", "queued")]);
  leaveAgain();
  forgetCache();
});

test("after close() nothing is followed, until somebody comes who wants to see it", async () => {
  mount();
  await answer();
  act(() => realtime.close());
  await settled();
  expect(realtime.subscriptions()).toEqual([]);
  const { shown } = mount();
  await commit(run("1", "failed"));
  expect(shown()).toEqual(["1 failed"]);
});
