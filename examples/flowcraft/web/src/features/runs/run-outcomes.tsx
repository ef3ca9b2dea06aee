// Runs that were started from this page: a toast shows how each of them ended, on whatever page the user is by then.
import { createContext, use, useCallback, type ReactNode } from "react";
import { paths } from "@/app/router";
import { useToast } from "@/app/toasts";
import { duration, elapsed } from "@/lib/format";
import type { RunUpdate } from "@/realtime.gen";
import { useRunOutcomes } from "./hooks/use-run-outcomes";

const AwaitRun = createContext<(runId: string) => void>(() => undefined);

/** Adds a run whose end is shown as a toast. */
export function useAwaitRun(): (runId: string) => void {
  return use(AwaitRun);
}

export function RunOutcomes({ children }: { children: ReactNode }) {
  const toast = useToast();
  const finished = useCallback(
    (run: RunUpdate) => {
      if (location.pathname === paths.run(run.run_id)) return; // its own page shows it
      const took = elapsed(run, Date.now());
      toast({
        tone: run.status === "succeeded" ? "good" : run.status === "failed" ? "bad" : "neutral",
        title: `${run.flow_name} #${run.number} ${run.status}`,
        text: run.error ?? (took === null ? "It never started." : `It took ${duration(took)}.`),
        link: { to: paths.run(run.run_id), label: "Open run" },
      });
    },
    [toast],
  );
  return <AwaitRun value={useRunOutcomes(finished)}>{children}</AwaitRun>;
}
