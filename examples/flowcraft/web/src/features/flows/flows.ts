// Flows as the page keeps them.
import type { FlowUpdate, RunUpdate } from "@/realtime.gen";

export const byName = (a: FlowUpdate, b: FlowUpdate): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

/** The newest run of each flow. `runs` are newest first. */
export function latestRuns(runs: readonly RunUpdate[]): ReadonlyMap<string, RunUpdate> {
  const latest = new Map<string, RunUpdate>();
  for (const run of runs) if (!latest.has(run.flow_id)) latest.set(run.flow_id, run);
  return latest;
}

/** The last `kept` outcomes of a flow, oldest first, for the small bars on its card. */
export function recentRuns(runs: readonly RunUpdate[], flowId: string, kept: number): readonly RunUpdate[] {
  return runs
    .filter((run) => run.flow_id === flowId)
    .slice(0, kept)
    .reverse();
}
