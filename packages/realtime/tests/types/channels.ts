// What `flowcraft codegen typescript` writes, for the type tests.
import "@flowcraft/realtime";
import type { Rows } from "@flowcraft/realtime";

export type RunUpdate = {
  readonly type: "RunUpdate";
  readonly run_id: string;
  readonly status: "queued" | "running" | "succeeded" | "failed";
};
export type StepCompleted = { readonly type: "StepCompleted"; readonly step: string };
export type Announcement = { readonly type: "Announcement"; readonly text: string };

export interface Task { readonly type: "Task"; readonly id: number; readonly title: string }
export interface Person { readonly type: "Person"; readonly id: number; readonly name: string }
export interface Seat { readonly type: "Seat"; readonly room: string; readonly number: string; readonly free: boolean }

export interface Channels {
  "run_update": RunUpdate;
  "system": Announcement;
  "user_rows": Rows<Task, "id">;
  [taskRows: `task_rows.${number | bigint}`]: Rows<Task, "id">;
  [seatRows: `seat_rows.${string}`]: Rows<Seat, "room" | "number">;
  [runs: `runs.${string}`]: RunUpdate | StepCompleted;
  [runsMembers: `runs_members.${string}`]: Rows<Person, "id">;
  "dashboard": Announcement;
  "dashboard_members": Rows<Person, "id">;
  [teams: `teams.${number | bigint}`]: Announcement;
  [teamsMembers: `teams_members.${number | bigint}`]: Rows<Person, "id">;
}

/** The names that presence adds. */
export type Presence = `runs_members.${string}` | "dashboard" | "dashboard_members" | `teams.${number}` | `teams.${bigint}` | `teams_members.${number}` | `teams_members.${bigint}`;

export const channel = {
  runUpdate: "run_update",
  system: "system",
  userRows: "user_rows",
  taskRows: (teamId: number | bigint) => `task_rows.${teamId}` as const,
  seatRows: (house: string) => `seat_rows.${house}` as const,
  runs: (runId: string) => `runs.${runId}` as const,
  runsMembers: (runId: string) => `runs_members.${runId}` as const,
  dashboard: "dashboard",
  dashboardMembers: "dashboard_members",
  teams: (teamId: number | bigint) => `teams.${teamId}` as const,
  teamsMembers: (teamId: number | bigint) => `teams_members.${teamId}` as const,
} as const;

export const schemaHash = "9f2c";

declare module "@flowcraft/realtime" {
  interface Register {
    channels: Channels;
  }
}
