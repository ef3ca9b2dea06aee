import { useQuery } from "@tanstack/react-query";
import { runsQuery } from "./queries";

export function QueriedRuns() {
  const { data = [], isPending } = useQuery(runsQuery);
  if (isPending) return <p>loading</p>;
  return <ul>{data.map((run) => <li key={run.run_id}>{`${run.run_id} ${run.status}`}</li>)}</ul>;
}
