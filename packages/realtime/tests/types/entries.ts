/** Type tests of the smaller entries with a registration. Run by tsc, not by vitest. */
import type { Client, Connection } from "@flowcraft/realtime";
import { channelQuery, followQueries, type Positioned } from "@flowcraft/realtime/query";
import { type ChannelStore, channelStore, connectionStore } from "@flowcraft/realtime/store";
import { rowsCollection } from "@flowcraft/realtime/tanstack-db";
import { createTestRealtime, type TestEvent } from "@flowcraft/realtime/testing";
import { QueryClient, useQuery } from "@tanstack/react-query";
import { derived, type Readable } from "svelte/store";
import { expectTypeOf } from "vitest";
import { createCollection } from "@tanstack/db";
import type { Presence, RunUpdate, StepCompleted, Task } from "./channels.js";

declare const client: Client;
declare const id: string;
declare const loadRuns: () => Promise<{ data: readonly RunUpdate[]; cursor: string }>;
const run: RunUpdate = { type: "RunUpdate", run_id: id, status: "queued" };
const step: StepCompleted = { type: "StepCompleted", step: "train" };

// Stores.
const runs = channelStore(client, "run_update", {
  load: loadRuns,
  reduce: (data, p) => {
    expectTypeOf(p).toEqualTypeOf<RunUpdate>();
    return [...data, p];
  },
});
expectTypeOf(runs).toEqualTypeOf<ChannelStore<readonly RunUpdate[] | undefined>>();
const begun = channelStore(client, "run_update", { load: loadRuns, reduce: (data, p) => [...data, p], initial: [] });
expectTypeOf(begun.get().data).toEqualTypeOf<readonly RunUpdate[]>();
begun satisfies Readable<{ data: readonly RunUpdate[] }>;
connectionStore(client) satisfies Readable<Connection>;
derived([begun, connectionStore(client)], ([list, { status }]) => {
  expectTypeOf(list.data).toEqualTypeOf<readonly RunUpdate[]>();
  expectTypeOf(status).toEqualTypeOf<Connection["status"]>();
});

// Queries.
const query = channelQuery(`runs.${id}`, {
  queryKey: ["run", id],
  load: () => Promise.resolve({ data: { steps: 0 }, cursor: "" }),
  reduce: (data, p) => {
    expectTypeOf(p).toEqualTypeOf<RunUpdate | StepCompleted>();
    return { steps: data.steps + 1 };
  },
});
expectTypeOf(followQueries(client, new QueryClient())).toEqualTypeOf<() => void>();
export function Queried(): void {
  const { data } = useQuery(query);
  expectTypeOf(data).toEqualTypeOf<{ steps: number } | undefined>();
  const { data: steps } = useQuery({ ...query, select: (stored) => stored.data.steps });
  expectTypeOf(steps).toEqualTypeOf<number | undefined>();
  useQuery({ ...query, initialData: { data: { steps: 1 }, cursor: "" } });
  // @ts-expect-error -- without the cursor that it was read at
  useQuery({ ...query, initialData: { steps: 1 } });
}
expectTypeOf(await new QueryClient().query({ queryKey: query.queryKey, queryFn: query.queryFn })).toEqualTypeOf<Positioned<{ steps: number }>>();

// Collections.
const tasks = createCollection(rowsCollection(client, "task_rows.7"));
expectTypeOf(tasks.get(1)).toExtend<Task | undefined>();
// @ts-expect-error -- a channel without rows
rowsCollection(client, "run_update");

// Tests.
const realtime = createTestRealtime();
expectTypeOf(realtime.client).toEqualTypeOf<Client>();
void realtime.broadcast("run_update", run);
void realtime.broadcast(`runs.${id}`, step);
void realtime.broadcastEphemeral("system", { type: "Announcement", text: "" });
void realtime.commit([
  { channel: "run_update", payload: run },
  { channel: "runs.42", payload: step },
]);
expectTypeOf<TestEvent["channel"]>().toEqualTypeOf<"run_update" | "system" | "user_rows" | `task_rows.${number}` | `task_rows.${bigint}` | `seat_rows.${string}` | `runs.${string}` | Presence>();

// What must not compile.
// @ts-expect-error -- no such channel
channelStore(client, "run_updates", { load: loadRuns, reduce: (data: number) => data });
// @ts-expect-error -- no such channel
channelQuery("run_updates", { queryKey: [], load: loadRuns, reduce: (data: number) => data });
// @ts-expect-error -- a state comes with the cursor it was read at
channelQuery("run_update", { queryKey: [], load: () => Promise.resolve({ data: 0 }), reduce: (data: number) => data });
// @ts-expect-error -- no such channel
void realtime.broadcast("run_updates", run);
// @ts-expect-error -- another channel's payload
void realtime.broadcast("run_update", step);
// @ts-expect-error -- no such status
void realtime.broadcast("run_update", { ...run, status: "done" });
// @ts-expect-error -- a field is missing
void realtime.broadcast("run_update", { type: "RunUpdate", run_id: id });
// @ts-expect-error -- another channel's payload, in a transaction
void realtime.commit([{ channel: "system", payload: run }]);
// @ts-expect-error -- no such channel
void realtime.refuse("runz.1");
