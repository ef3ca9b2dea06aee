/** Type tests with a registration: what is inferred, and what does not compile. Run by tsc, not by vitest. */
import { type ChannelName, type Client, type Connection, createClient, type Gone, type Payload, type RealtimeError } from "@flowcraft/realtime";
import { type ChannelState, useChannel, useChannelState, useClient, useConnection, useWebSocket } from "@flowcraft/realtime/react";
import { expectTypeOf } from "vitest";
import { type Announcement, channel, type Presence, type RunUpdate, schemaHash, type StepCompleted } from "./channels.js";

declare const id: string;
declare const loadRuns: () => Promise<{ data: readonly RunUpdate[]; cursor: string }>;
const client = createClient({ schema: schemaHash });

expectTypeOf<ChannelName>().toEqualTypeOf<"run_update" | "system" | "user_rows" | `task_rows.${number}` | `task_rows.${bigint}` | `seat_rows.${string}` | `runs.${string}` | Presence>();
expectTypeOf<Payload<"run_update">>().toEqualTypeOf<RunUpdate>();
expectTypeOf<Payload<"system">>().toEqualTypeOf<Announcement>();
expectTypeOf<Payload<"runs.42">>().toEqualTypeOf<RunUpdate | StepCompleted>();
expectTypeOf<Payload<`runs.${string}`>>().toEqualTypeOf<RunUpdate | StepCompleted>();
expectTypeOf<Payload<"run_update" | "system">>().toEqualTypeOf<RunUpdate | Announcement>();
expectTypeOf(client).toEqualTypeOf<Client>();
expectTypeOf(client.subscribe("run_update", (p) => expectTypeOf(p).toEqualTypeOf<RunUpdate>())).toEqualTypeOf<() => void>();
client.subscribe("system", (p) => expectTypeOf(p).toEqualTypeOf<Announcement>());
client.subscribe("runs.42", (p) => expectTypeOf(p).toEqualTypeOf<RunUpdate | StepCompleted>());
client.subscribe(`runs.${id}`, (p) => expectTypeOf(p).toEqualTypeOf<RunUpdate | StepCompleted>());
client.subscribe(channel.runs(id), (p) => expectTypeOf(p).toEqualTypeOf<RunUpdate | StepCompleted>());
client.subscribe(channel.runUpdate, (p) => expectTypeOf(p.status).toEqualTypeOf<RunUpdate["status"]>());
client.subscribe("runs.42", (p) => {
  if (p.type === "StepCompleted") expectTypeOf(p).toEqualTypeOf<StepCompleted>();
  else expectTypeOf(p).toEqualTypeOf<RunUpdate>();
});
client.subscribe("run_update", () => undefined, {
  onReset: (error) => expectTypeOf(error).toEqualTypeOf<RealtimeError>(),
  onError: (error) => expectTypeOf(error).toEqualTypeOf<RealtimeError>(),
  onFresh: (fresh) => expectTypeOf(fresh).toEqualTypeOf<boolean>(),
  onGone: (key) => expectTypeOf(key).toEqualTypeOf<Readonly<Partial<RunUpdate>>>(),
  onSkipped: (error) => expectTypeOf(error).toEqualTypeOf<RealtimeError>(),
});
expectTypeOf<Gone<"runs.42">>().toEqualTypeOf<Readonly<Partial<RunUpdate>> | Readonly<Partial<StepCompleted>>>();
// @ts-expect-error -- no field of the events
expectTypeOf<Gone<"run_update">>().toHaveProperty("colour");
expectTypeOf(client.settled("757")).toEqualTypeOf<Promise<void>>();
expectTypeOf(client.connection.get()).toEqualTypeOf<Connection>();
expectTypeOf(client.connection.get().status).toEqualTypeOf<"connecting" | "open" | "waiting" | "stopped">();
expectTypeOf(client.position()).toEqualTypeOf<string | undefined>();

export function Hooks(): void {
  const { subscribe } = useWebSocket();
  subscribe("run_update", (p) => expectTypeOf(p).toEqualTypeOf<RunUpdate>());
  expectTypeOf(subscribe).toEqualTypeOf<Client["subscribe"]>();
  expectTypeOf(useClient()).toEqualTypeOf<Client>();
  expectTypeOf(useConnection().fresh).toEqualTypeOf<boolean>();
  useChannel("run_update", (p) => expectTypeOf(p).toEqualTypeOf<RunUpdate>());
  useChannel(id === "" ? null : `runs.${id}`, (p) => expectTypeOf(p).toEqualTypeOf<RunUpdate | StepCompleted>());

  const list = useChannelState("run_update", {
    load: loadRuns,
    reduce: (data, p) => {
      expectTypeOf(data).toEqualTypeOf<readonly RunUpdate[]>();
      expectTypeOf(p).toEqualTypeOf<RunUpdate>();
      return [...data, p];
    },
  });
  expectTypeOf(list.data).toEqualTypeOf<readonly RunUpdate[] | undefined>();
  expectTypeOf(list.error).toEqualTypeOf<unknown>();
  const begun = useChannelState("run_update", { load: loadRuns, reduce: (data, p) => [...data, p], initial: [] });
  expectTypeOf(begun.data).toEqualTypeOf<readonly RunUpdate[]>();
  expectTypeOf(begun).toEqualTypeOf<ChannelState<readonly RunUpdate[]>>();
  const counted = useChannelState(id === "" ? null : channel.runs(id), {
    load: () => Promise.resolve({ data: { steps: 0 }, cursor: "" }),
    reduce: (data, p) => ({ steps: data.steps + (p.type === "StepCompleted" ? 1 : 0) }),
  });
  expectTypeOf(counted.data).toEqualTypeOf<{ steps: number } | undefined>();
}

// What must not compile.
// @ts-expect-error -- no such channel
client.subscribe("run_updates", () => undefined);
// @ts-expect-error -- a family needs its parameter
client.subscribe("runs", () => undefined);
// @ts-expect-error -- another family
client.subscribe("runz.42", () => undefined);
// @ts-expect-error -- a string is not known to be a channel
client.subscribe(id, () => undefined);
// @ts-expect-error -- null is for hooks
client.subscribe(null, () => undefined);
// @ts-expect-error -- another channel's payload
client.subscribe("run_update", (p: Announcement) => p.text);
// @ts-expect-error -- a member of the union is not the union
client.subscribe("runs.42", (p: StepCompleted) => p.step);
// @ts-expect-error -- no such field
client.subscribe("run_update", (p) => "" in p.step);
// @ts-expect-error -- not before the union is told apart
client.subscribe("runs.42", (p) => "" in p.status);
client.subscribe("run_update", (p) => {
  // @ts-expect-error -- payloads are read, not written
  p.status = "failed";
});
// @ts-expect-error -- no such status
client.subscribe("run_update", (p) => p.status === "done");
// @ts-expect-error -- a cursor is text
client.subscribe("run_update", () => undefined, { since: 752 });
// @ts-expect-error -- no such option
client.subscribe("run_update", () => undefined, { after: "" });
// @ts-expect-error -- a transaction is named
void client.settled();
// @ts-expect-error -- the hash is text
createClient({ schema: 1 });
// @ts-expect-error -- no such channel
expectTypeOf<Payload<"runz.1">>();

export function Misused(): void {
  // @ts-expect-error -- no such channel
  useChannel("run_updates", () => undefined);
  // @ts-expect-error -- another channel's payload
  useChannel("system", (p: RunUpdate) => p.status);
  // @ts-expect-error -- a state comes with the cursor it was read at
  useChannelState("run_update", { load: () => Promise.resolve({ data: 0 }), reduce: (n: number) => n });
  useChannelState("run_update", {
    load: loadRuns,
    // @ts-expect-error -- a reducer returns the state
    reduce: (data, p) => p,
  });
  const { data } = useChannelState("run_update", { load: loadRuns, reduce: (runs) => runs });
  // @ts-expect-error -- not loaded yet
  data.length satisfies number;
}
