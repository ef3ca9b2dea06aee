import { useMemo } from "react";
import { useRuns } from "@/features/runs/hooks/use-runs";
import { finishesOf } from "../plot";

/** When runs came to an end, and how: what the plot counts. */
export function useFinishes() {
  const { rows, error } = useRuns();
  return { finishes: useMemo(() => rows && finishesOf(rows), [rows]), error };
}
