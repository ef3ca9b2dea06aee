import { useClient } from "@flowcraft/realtime/react";
import { useCallback, useState } from "react";
import { useToast } from "@/app/toasts";
import { useAwaitRun } from "@/features/runs/run-outcomes";
import { api, explain } from "@/lib/api";

/** Starts runs. A flow is in `starting` from the click until its new run is on the page. */
export function useTriggerFlow() {
  const client = useClient();
  const toast = useToast();
  const awaitRun = useAwaitRun();
  const [starting, setStarting] = useState<ReadonlySet<string>>(new Set());

  const trigger = useCallback(
    async (flowId: string) => {
      setStarting((flows) => new Set(flows).add(flowId));
      try {
        const { run_id, xid } = await api.trigger(flowId);
        awaitRun(run_id);
        await client.settled(xid);
      } catch (error) {
        toast({ tone: "bad", title: "The flow was not started", text: explain(error) });
      } finally {
        setStarting((flows) => new Set([...flows].filter((other) => other !== flowId)));
      }
    },
    [client, toast, awaitRun],
  );
  return { starting, trigger };
}
