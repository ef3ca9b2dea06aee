import { useChannelState, useConnection } from "@flowcraft/realtime/react";
import { loadRuns, withRun } from "./api";

export function RunList() {
  const { status } = useConnection();
  const { data, error } = useChannelState("run_update", { load: loadRuns, reduce: withRun, initial: [] });
  if (error) return <p>no access</p>;
  return (
    <>
      <ul>{data.map((run) => <li key={run.run_id}>{`${run.run_id} ${run.status}`}</li>)}</ul>
      <p>{status === "open" ? "live" : "offline"}</p>
    </>
  );
}
