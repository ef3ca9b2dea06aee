import { useRows } from "@flowcraft/realtime/rows";
import { channel } from "@/realtime.gen";
import { newestFirst } from "../runs";

/** All runs that are kept, the newest first. */
export function useRuns() {
  return useRows(channel.runRows, { sort: newestFirst });
}
