import { useChannelState } from "@flowcraft/realtime/react";
import { api } from "@/lib/api";
import { channel, type RunUpdate } from "@/realtime.gen";
import { RUNS_KEPT, withRun } from "../runs";

const load = () => api.runs(RUNS_KEPT);
const reduce = (runs: readonly RunUpdate[], update: RunUpdate) => withRun(runs, update);

/** The newest runs, kept exactly as a reload would show them. */
export function useRuns() {
  return useChannelState(channel.runUpdate, { load, reduce });
}
