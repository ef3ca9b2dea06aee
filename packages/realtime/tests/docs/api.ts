import type { RunUpdate } from "./realtime.gen";

export type Runs = readonly RunUpdate[];
export type Loaded = { readonly data: Runs; readonly cursor: string };

/** The endpoint reads the rows and `flowcraft.cursor()` in one statement. */
export const loadRuns = async (): Promise<Loaded> => (await fetch("/api/runs")).json() as Promise<Loaded>;

export const withRun = (runs: Runs, run: RunUpdate): Runs => [run, ...runs.filter(({ run_id }) => run_id !== run.run_id)];
