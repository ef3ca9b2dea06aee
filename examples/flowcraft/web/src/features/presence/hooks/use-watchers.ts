import { usePresence } from "@flowcraft/realtime/presence";
import { channel } from "@/realtime.gen";

/** Who looks at all runs. */
export function useWatchers() {
  return usePresence(channel.runUpdate);
}

/** Who looks at one run; `null` turns it off. */
export function useWatchersOfRun(runId: string | null) {
  return usePresence(runId === null ? null : channel.runs(runId));
}
