import { useChannelState } from "@flowcraft/realtime/react";
import { useCallback } from "react";
import { api } from "@/lib/api";
import { channel } from "@/realtime.gen";
import { withRunEvent } from "../run";

/** A run with its steps and its log, live. */
export function useRun(runId: string) {
  const load = useCallback(() => api.run(runId), [runId]);
  return useChannelState(channel.runs(runId), { load, reduce: withRunEvent });
}
