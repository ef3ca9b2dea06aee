import { useChannelState } from "@flowcraft/realtime/react";
import { api } from "@/lib/api";
import { channel } from "@/realtime.gen";
import { activityOf, withActivity } from "../activity";

const load = async () => {
  const { data, cursor } = await api.runs(50);
  return { data: activityOf(data), cursor };
};

/** What runs did last, newest first. */
export function useActivity() {
  return useChannelState(channel.runUpdate, { load, reduce: withActivity });
}
