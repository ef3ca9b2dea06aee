import { useRows } from "@flowcraft/realtime/rows";
import { channel } from "@/realtime.gen";
import { byName } from "../flows";

/** All flows, by name. */
export function useFlows() {
  return useRows(channel.flowRows, { sort: byName });
}
