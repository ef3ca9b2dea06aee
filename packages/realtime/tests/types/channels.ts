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
export interface Seat { readonly type: "Seat"; readonly room: string; readonly number: string; readonly free: boolean }

export interface Channels {
  "run_update": RunUpdate;
  "system": Announcement;
  "user_rows": Rows<Task, "id">;
  [taskRows: `task_rows.${number | bigint}`]: Rows<Task, "id">;
  [seatRows: `seat_rows.${string}`]: Rows<Seat, "room" | "number">;
  [runs: `runs.${string}`]: RunUpdate | StepCompleted;
}

export const channel = {
  runUpdate: "run_update",
  system: "system",
  userRows: "user_rows",
  taskRows: (teamId: number | bigint) => `task_rows.${teamId}` as const,
  seatRows: (house: string) => `seat_rows.${house}` as const,
  runs: (runId: string) => `runs.${runId}` as const,
} as const;

export const schemaHash = "9f2c";

declare module "@flowcraft/realtime" {
  interface Register {
    channels: Channels;
  }
}
