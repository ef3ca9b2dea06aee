import { useCallback } from "react";
import { useToast } from "@/app/toasts";
import { useAwaitRun } from "@/features/runs/run-outcomes";
import { expectCancel, expectRetry } from "@/features/runs/runs";
import { api } from "@/lib/api";
import { useSettledAction } from "@/lib/use-settled-action";
import type { RunUpdate } from "@/realtime.gen";

/** Cancel and retry: what is expected shows at once, and is dropped when the transaction's events are here or it was refused. */
export function useRunActions(known: RunUpdate) {
  const toast = useToast();
  const awaitRun = useAwaitRun();
  const refused = useCallback((reason: string) => toast({ tone: "bad", title: "Nothing was changed", text: reason }), [toast]);
  const { shown, pending, run } = useSettledAction(known, refused);
  const runId = known.run_id;

  const cancel = useCallback(() => run(expectCancel, () => api.cancel(runId)), [run, runId]);
  const retry = useCallback(
    () =>
      run(expectRetry, async () => {
        const written = await api.retry(runId);
        awaitRun(runId);
        return written;
      }),
    [run, runId, awaitRun],
  );
  return { run: shown, pending, cancel, retry };
}
