// What `flowcraft codegen typescript` writes, for the type tests.
import "@flowcraft/realtime";

export type RunUpdate = {
  readonly type: "RunUpdate";
  readonly run_id: string;
  readonly status: "queued" | "running" | "succeeded" | "failed";
};
export type StepCompleted = { readonly type: "StepCompleted"; readonly step: string };
export type Announcement = { readonly type: "Announcement"; readonly text: string };

export interface Channels {
  "run_update": RunUpdate;
  "system": Announcement;
  [runs: `runs.${string}`]: RunUpdate | StepCompleted;
}

export const channel = {
  runUpdate: "run_update",
  system: "system",
  runs: (runId: string) => `runs.${runId}` as const,
} as const;

export const schemaHash = "9f2c";

declare module "@flowcraft/realtime" {
  interface Register {
    channels: Channels;
  }
}
