import { useChannelState } from "@flowcraft/realtime/react";
import { api } from "@/lib/api";
import { channel } from "@/realtime.gen";
import { RUNS_KEPT } from "@/features/runs/runs";
import { finishesOf, withFinish } from "../plot";

const load = async () => {
  const { data, cursor } = await api.runs(RUNS_KEPT);
  return { data: finishesOf(data), cursor };
};

/** When runs came to an end, and how: what the plot counts. */
export function useFinishes() {
  return useChannelState(channel.runUpdate, { load, reduce: withFinish });
}
