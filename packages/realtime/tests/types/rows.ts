/** Type tests of channels of rows. Run by tsc, not by vitest. */
import type { ChannelName, Client, Gone, Payload, RowKey, Rows, RowsName } from "@flowcraft/realtime";
import { type RowList, useRows } from "@flowcraft/realtime/rows";
import { rowsStore } from "@flowcraft/realtime/store";
import { createTestRealtime } from "@flowcraft/realtime/testing";
import type { Readable } from "svelte/store";
import { expectTypeOf } from "vitest";
import { channel, type Seat, type Task } from "./channels.js";

declare const client: Client;
const task: Task = { type: "Task", id: 1, title: "" };

expectTypeOf<RowsName>().toEqualTypeOf<
  | "user_rows"
  | `task_rows.${number}`
  | `task_rows.${bigint}`
  | `seat_rows.${string}`
  | `runs_members.${string}`
  | "dashboard_members"
  | `teams_members.${number}`
  | `teams_members.${bigint}`
>();
expectTypeOf<RowsName>().toExtend<ChannelName>();
expectTypeOf<Payload<"task_rows.7">>().toEqualTypeOf<Task>();
expectTypeOf<Gone<"task_rows.7">>().toEqualTypeOf<Readonly<Pick<Task, "id">>>();
expectTypeOf<Gone<"seat_rows.a">>().toEqualTypeOf<Readonly<Pick<Seat, "room" | "number">>>();
expectTypeOf<RowKey<"task_rows.7">>().toEqualTypeOf<number>();
expectTypeOf<RowKey<"seat_rows.a">>().toEqualTypeOf<Readonly<Pick<Seat, "room" | "number">>>();

export function Tasks(): void {
  const { rows, fresh, loading } = useRows(channel.taskRows(7));
  expectTypeOf(rows).toEqualTypeOf<RowList<`task_rows.${number | bigint}`> | undefined>();
  expectTypeOf(rows?.[0]).toEqualTypeOf<Task | undefined>();
  expectTypeOf(rows?.get(1)).toEqualTypeOf<Task | undefined>();
  expectTypeOf([fresh, loading]).toEqualTypeOf<boolean[]>();
  useRows(channel.userRows, { where: (row) => row.title !== "", sort: (a, b) => a.id - b.id });
  expectTypeOf(useRows(channel.seatRows("a")).rows?.get({ room: "1", number: "2" })).toEqualTypeOf<Seat | undefined>();
  useRows(null);
  // @ts-expect-error -- not a channel of rows
  useRows("run_update");
  // @ts-expect-error -- not loaded yet
  rows.length satisfies number;
  // @ts-expect-error -- the key is a number
  rows?.get("1");
  // @ts-expect-error -- a key of two fields
  useRows(channel.seatRows("a")).rows?.get("1");
  // @ts-expect-error -- another channel's row
  useRows(channel.userRows, { where: (row: Seat) => row.free });
  // @ts-expect-error -- rows are read, not written
  rows satisfies Task[] | undefined;
}

client.subscribe(channel.taskRows(7), (row) => expectTypeOf(row).toEqualTypeOf<Task>(), {
  onRows: ({ rows, key }) => {
    expectTypeOf(rows).toEqualTypeOf<readonly Task[]>();
    expectTypeOf(key).toEqualTypeOf<readonly string[]>();
  },
  onGone: ({ id }) => expectTypeOf(id).toEqualTypeOf<number>(),
  onGroup: () => undefined,
});
rowsStore(client, channel.userRows) satisfies Readable<{ readonly rows: readonly Task[] | undefined }>;
// @ts-expect-error -- not a channel of rows
rowsStore(client, "system");

const realtime = createTestRealtime();
void realtime.rows(channel.taskRows(7), [task]);
void realtime.broadcast(channel.taskRows(7), task);
void realtime.gone(channel.taskRows(7), { id: 1 });
// @ts-expect-error -- not the key
void realtime.gone(channel.taskRows(7), { title: "" });
// @ts-expect-error -- not a channel of rows
void realtime.rows("system", []);
// @ts-expect-error -- another channel's rows
void realtime.rows(channel.seatRows("a"), [task]);

// Rows of another type or key are not these rows.
declare const tasks: Rows<Task, "id">;
// @ts-expect-error -- another row
tasks satisfies Rows<Seat, "number">;
// @ts-expect-error -- another key
tasks satisfies Rows<Task, "title">;
// @ts-expect-error -- fewer fields
tasks satisfies Rows<Pick<Task, "id">, "id">;
