// What the plot shows: finished runs, counted into equal slices of time. Pure.
import type { RunUpdate } from "@/realtime.gen";
import { isFinished, RUNS_KEPT, type Outcome } from "@/features/runs/runs";

export const outcomes = ["succeeded", "failed", "cancelled"] as const satisfies readonly Outcome[];

/** A run that came to an end: once for each attempt. */
export interface Finish {
  readonly key: string;
  readonly at: number;
  readonly outcome: Outcome;
}

export interface Window {
  readonly sliceMs: number;
  readonly slices: number;
}

/** Counts per slice, oldest first; `starts` in seconds, as the plot wants them. */
export type Series = { readonly starts: readonly number[] } & Readonly<Record<Outcome, readonly number[]>>;

export const windows = {
  second: { sliceMs: 1000, slices: 60 },
  minute: { sliceMs: 60_000, slices: 30 },
} as const satisfies Record<string, Window>;

export const FINISHES_KEPT = 5_000;

export function finishesOf(runs: readonly RunUpdate[]): readonly Finish[] {
  return runs.flatMap((run) => finishOf(run) ?? []).sort((a, b) => a.at - b.at);
}

/** The finishes with one update applied; a later update of the same attempt is the same finish. */
export function withFinish(finishes: readonly Finish[], update: RunUpdate): readonly Finish[] {
  const finish = finishOf(update);
  if (finish === null) return finishes;
  const recent = finishes.slice(-RUNS_KEPT);
  if (recent.some((other) => other.key === finish.key)) return finishes;
  return [...finishes, finish].slice(-FINISHES_KEPT);
}

export function seriesOf(finishes: readonly Finish[], { sliceMs, slices }: Window, now: number): Series {
  const first = (Math.floor(now / sliceMs) - slices + 1) * sliceMs;
  const empty = () => new Array<number>(slices).fill(0);
  const counts = { succeeded: empty(), failed: empty(), cancelled: empty() };
  for (const { at, outcome } of finishes) {
    const slice = Math.min(slices - 1, Math.floor((at - first) / sliceMs)); // a server's clock may be ahead
    if (slice >= 0) counts[outcome][slice] = (counts[outcome][slice] ?? 0) + 1;
  }
  return { starts: Array.from({ length: slices }, (_, index) => (first + index * sliceMs) / 1000), ...counts };
}

function finishOf(run: RunUpdate): Finish | null {
  const { status } = run;
  if (!isFinished(status) || run.finished_at === null) return null;
  return { key: `${run.run_id} ${run.attempt}`, at: Date.parse(run.finished_at), outcome: status };
}
