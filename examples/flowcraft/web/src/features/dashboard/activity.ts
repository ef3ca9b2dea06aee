// Recent activity: what runs did, newest first. Pure.
import type { RunUpdate } from "@/realtime.gen";

export interface Activity {
  readonly key: string;
  readonly at: string;
  readonly run: RunUpdate;
}

export const ACTIVITY_KEPT = 12;

export function activityOf(runs: readonly RunUpdate[]): readonly Activity[] {
  return runs
    .map(asActivity)
    .sort((a, b) => Date.parse(b.at) - Date.parse(a.at))
    .slice(0, ACTIVITY_KEPT);
}

/** The activity with one update applied: a run that changed its status comes first, a step forward stays where it is. */
export function withActivity(activity: readonly Activity[], update: RunUpdate): readonly Activity[] {
  const news = asActivity(update);
  const at = activity.findIndex((item) => item.key === news.key);
  if (at >= 0) return activity.with(at, news);
  const others = activity.filter((item) => item.run.run_id !== update.run_id);
  return [news, ...others].slice(0, ACTIVITY_KEPT);
}

function asActivity(run: RunUpdate): Activity {
  const at = run.finished_at ?? (run.status === "running" ? run.started_at : null) ?? run.created_at;
  return { key: `${run.run_id} ${run.attempt} ${run.status}`, at, run };
}
