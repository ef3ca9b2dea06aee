// What the plot shows: finished runs, counted into equal slices of time. Pure.
import type { RunUpdate } from "@/realtime.gen";
import { isFinished, type Outcome } from "@/features/runs/runs";

export const outcomes = ["succeeded", "failed", "cancelled"] as const satisfies readonly Outcome[];

/** A run that came to an end. */
export interface Finish {
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

export function finishesOf(runs: readonly RunUpdate[]): readonly Finish[] {
  return runs.flatMap((run) => finishOf(run) ?? []);
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
  return { at: Date.parse(run.finished_at), outcome: status };
}
