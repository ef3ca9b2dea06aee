import { useMemo } from "react";
import { useRuns } from "@/features/runs/hooks/use-runs";
import { activityOf } from "../activity";

/** What runs did last, newest first. */
export function useActivity() {
  const { rows, error } = useRuns();
  return { activity: useMemo(() => rows && activityOf(rows), [rows]), error };
}
