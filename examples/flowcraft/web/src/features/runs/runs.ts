// Runs as the page keeps them: pure functions from state and event to state.
import type { RunUpdate } from "@/realtime.gen";

export type RunStatus = RunUpdate["status"];
export type RunFilter = "all" | RunStatus;
export type Outcome = Exclude<RunStatus, "queued" | "running">;

export const RUNS_KEPT = 200;
export const runStatuses = ["queued", "running", "succeeded", "failed", "cancelled"] as const satisfies readonly RunStatus[];
export const runFilters = ["all", ...runStatuses] as const satisfies readonly RunFilter[];

export function isRunFilter(value: unknown): value is RunFilter {
  return runFilters.some((filter) => filter === value);
}

export function isFinished(status: RunStatus): status is Outcome {
  return status === "succeeded" || status === "failed" || status === "cancelled";
}

/** The runs with one update applied: newest first, at most `kept`, exactly what a reload would show. */
export function withRun(runs: readonly RunUpdate[], update: RunUpdate, kept: number = RUNS_KEPT): readonly RunUpdate[] {
  const at = runs.findIndex((run) => run.run_id === update.run_id);
  if (at >= 0) return runs.with(at, update);
  const older = runs.findIndex((run) => run.number < update.number);
  return runs.toSpliced(older < 0 ? runs.length : older, 0, update).slice(0, kept);
}

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
