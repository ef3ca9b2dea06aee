import { useChannelState } from "@flowcraft/realtime/react";
import { api } from "@/lib/api";
import { channel, type DashboardUpdate } from "@/realtime.gen";

export const MEASUREMENTS_KEPT = 300;

const reduce = (history: readonly DashboardUpdate[], update: DashboardUpdate) => [...history, update].slice(-MEASUREMENTS_KEPT);

/** The figures of all runs, the latest last. */
export function useDashboard() {
  return useChannelState(channel.dashboard, { load: api.dashboard, reduce });
}
