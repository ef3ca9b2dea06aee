import { useChannelState } from "@flowcraft/realtime/react";
import { api } from "@/lib/api";
import { channel } from "@/realtime.gen";
import { withFlow, withoutFlow } from "../flows";

/** All flows, by name. */
export function useFlows() {
  return useChannelState(channel.flowUpdate, { load: api.flows, reduce: withFlow, gone: withoutFlow });
}
