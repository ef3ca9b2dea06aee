/** Type tests of presence. Run by tsc, not by vitest. */
import type { ChannelName, Client, Member, MembersName, PresenceName } from "@flowcraft/realtime";
import { usePresence } from "@flowcraft/realtime/presence";
import { useRows } from "@flowcraft/realtime/rows";
import { presenceStore } from "@flowcraft/realtime/store";
import { createTestRealtime } from "@flowcraft/realtime/testing";
import type { Readable } from "svelte/store";
import { expectTypeOf } from "vitest";
import { channel, type Person } from "./channels.js";

declare const client: Client;
const ada: Person = { type: "Person", id: 1, name: "Ada" };

expectTypeOf<PresenceName>().toEqualTypeOf<"dashboard" | `runs.${string}` | `teams.${number}` | `teams.${bigint}`>();
expectTypeOf<PresenceName>().toExtend<ChannelName>();
expectTypeOf<MembersName<"runs.7">>().toEqualTypeOf<"runs_members.7">();
expectTypeOf<MembersName<"dashboard">>().toEqualTypeOf<"dashboard_members">();
expectTypeOf<Member<"runs.7">>().toEqualTypeOf<Person>();

export function Present(): void {
  const { members, count, fresh } = usePresence(channel.runs("7"));
  expectTypeOf(members).toEqualTypeOf<readonly Person[]>();
  expectTypeOf(count).toEqualTypeOf<number>();
  expectTypeOf(fresh).toEqualTypeOf<boolean>();
  expectTypeOf(usePresence(channel.teams(7)).members).toEqualTypeOf<readonly Person[]>();
  usePresence(channel.dashboard, { join: false });
  usePresence(null);
  expectTypeOf(useRows(channel.runsMembers("7")).rows?.get(1)).toEqualTypeOf<Person | undefined>();
  // @ts-expect-error -- declared without presence
  usePresence("run_update");
  // @ts-expect-error -- the channel itself is named, not that of its members
  usePresence("dashboard_members");
  // @ts-expect-error -- members are read, not written
  members satisfies Person[];
}

presenceStore(client, channel.dashboard) satisfies Readable<{ readonly members: readonly Person[] }>;
// @ts-expect-error -- declared without presence
presenceStore(client, "system");

const realtime = createTestRealtime();
void realtime.presence(channel.runs("7"), [ada]);
realtime.presentOn() satisfies readonly string[];
// @ts-expect-error -- declared without presence
void realtime.presence("system", []);
// @ts-expect-error -- not a member
void realtime.presence(channel.dashboard, [{ id: 1 }]);
