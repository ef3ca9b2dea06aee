import { channelQuery } from "@flowcraft/realtime/query";
import { loadRuns, withRun } from "./api";

export const runsQuery = channelQuery("run_update", {
  queryKey: ["runs"],
  load: loadRuns, // resolves to { data, cursor }
  reduce: withRun,
});
