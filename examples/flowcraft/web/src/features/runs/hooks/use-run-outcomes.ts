import { useWebSocket } from "@flowcraft/realtime/react";
import { useCallback, useEffect, useRef } from "react";
import type { RunUpdate } from "@/realtime.gen";
import { isFinished } from "../runs";

/** Calls back when a run that this page waits for finishes. Returns the function that adds such a run. */
export function useRunOutcomes(finished: (run: RunUpdate) => void): (runId: string) => void {
  const { subscribe } = useWebSocket();
  const awaited = useRef(new Set<string>());

  useEffect(
    () =>
      subscribe(
        "run_update",
        (run) => {
          if (isFinished(run.status) && awaited.current.delete(run.run_id)) finished(run);
        },
        {
          onGone: ({ run_id }) => {
            if (run_id !== undefined) awaited.current.delete(run_id);
          },
        },
      ),
    [subscribe, finished],
  );
  return useCallback((runId: string) => void awaited.current.add(runId), []);
}
