import { useChannelState } from "@flowcraft/realtime/react";
import { useCallback, useState } from "react";
import { api, ApiError } from "@/lib/api";
import { channel } from "@/realtime.gen";
import { withRunEvent } from "../run";
import { useSteps } from "./use-steps";

/** A run with its steps and its log, live. `missing`: there is no such run, and nothing to wait for. */
export function useRun(runId: string) {
  const [missing, setMissing] = useState(false);
  const load = useCallback(async () => {
    try {
      return await api.run(runId);
    } catch (error) {
      if (error instanceof ApiError && (error.status === 404 || error.status === 422)) setMissing(true);
      throw error;
    }
  }, [runId]);
  const state = useChannelState(missing ? null : channel.runs(runId), { load, reduce: withRunEvent });
  const { rows: steps, error } = useSteps(missing ? null : runId);
  const data = state.data && steps && { ...state.data, steps };
  return { ...state, data, error: state.error ?? error, missing };
}
