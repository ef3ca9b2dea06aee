// Runs as the page shows them. Pure.
import type { RunUpdate } from "@/realtime.gen";

export type RunStatus = RunUpdate["status"];
export type RunFilter = "all" | RunStatus;
export type Outcome = Exclude<RunStatus, "queued" | "running">;

export const runStatuses = ["queued", "running", "succeeded", "failed", "cancelled"] as const satisfies readonly RunStatus[];
export const runFilters = ["all", ...runStatuses] as const satisfies readonly RunFilter[];

export function isRunFilter(value: unknown): value is RunFilter {
  return runFilters.some((filter) => filter === value);
}

export function isFinished(status: RunStatus): status is Outcome {
  return status === "succeeded" || status === "failed" || status === "cancelled";
}

export const newestFirst = (a: RunUpdate, b: RunUpdate): number => b.number - a.number;

export function filtered(runs: readonly RunUpdate[], filter: RunFilter): readonly RunUpdate[] {
  return filter === "all" ? runs : runs.filter((run) => run.status === filter);
}

export function countByStatus(runs: readonly RunUpdate[]): Readonly<Record<RunFilter, number>> {
  const counts = { all: runs.length, queued: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 };
  for (const run of runs) counts[run.status] += 1;
  return counts;
}

/** What a cancel is expected to make of a run: one that waits is over at once, one that works is asked to stop. */
export function expectCancel(run: RunUpdate): RunUpdate {
  return run.status === "queued" ? { ...run, status: "cancelled", cancel_requested: true } : { ...run, cancel_requested: true };
}

/** What a retry is expected to make of a run: the same run waits again and goes on at the step that did not succeed. */
export function expectRetry(run: RunUpdate): RunUpdate {
  return { ...run, status: "queued", attempt: run.attempt + 1, cancel_requested: false, error: null, finished_at: null };
}

export function canCancel(run: RunUpdate): boolean {
  return !isFinished(run.status) && !run.cancel_requested;
}

export function canRetry(run: RunUpdate): boolean {
  return run.status === "failed" || run.status === "cancelled";
}

/** The label of a run's state, which is more precise than its status. */
export function runLabel(run: RunUpdate): string | undefined {
  if (run.status === "running" && run.cancel_requested) return "Cancelling";
  if (run.status === "queued" && run.retry_at !== null) return "Retry soon";
  return undefined;
}
