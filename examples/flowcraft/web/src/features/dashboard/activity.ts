// Recent activity: what runs did last, newest first. Pure.
import type { RunUpdate } from "@/realtime.gen";

export interface Activity {
  readonly key: string;
  readonly at: string;
  readonly run: RunUpdate;
}

export const ACTIVITY_KEPT = 12;

/** A run is where it was when its status last changed; a step forward does not move it. */
export function activityOf(runs: readonly RunUpdate[]): readonly Activity[] {
  return runs
    .map(asActivity)
    .sort((a, b) => Date.parse(b.at) - Date.parse(a.at))
    .slice(0, ACTIVITY_KEPT);
}

function asActivity(run: RunUpdate): Activity {
  const at = run.finished_at ?? (run.status === "running" ? run.started_at : null) ?? run.created_at;
  return { key: `${run.run_id} ${run.attempt} ${run.status}`, at, run };
}
