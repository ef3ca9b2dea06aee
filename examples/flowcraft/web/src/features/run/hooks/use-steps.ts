import { useRows } from "@flowcraft/realtime/rows";
import { channel } from "@/realtime.gen";

/** The steps of a run by their position, which is their key; `null` turns it off. */
export function useSteps(runId: string | null) {
  return useRows(runId === null ? null : channel.stepRows(runId));
}
