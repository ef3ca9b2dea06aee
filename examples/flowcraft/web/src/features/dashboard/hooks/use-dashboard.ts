import { useRows } from "@flowcraft/realtime/rows";
import { channel, type DashboardUpdate } from "@/realtime.gen";

const oldestFirst = (a: DashboardUpdate, b: DashboardUpdate) => Date.parse(a.at) - Date.parse(b.at);

/** The figures of all runs, the latest last. */
export function useDashboard() {
  return useRows(channel.dashboardRows, { sort: oldestFirst });
}
