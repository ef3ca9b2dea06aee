import { useClient } from "@flowcraft/realtime/react";
import { Workflow } from "lucide-react";
import { useMemo } from "react";
import { useRuns } from "@/features/runs/hooks/use-runs";
import type { RunUpdate } from "@/realtime.gen";
import { Card } from "@/ui/card";
import { Page } from "@/ui/page";
import { Empty, Failure, Loading, Skeleton } from "@/ui/states";
import { latestRuns, recentRuns } from "../flows";
import { useFlows } from "../hooks/use-flows";
import { useTriggerFlow } from "../hooks/use-trigger-flow";
import { FlowCard } from "./flow-card";

const BARS = 24;
const none: readonly RunUpdate[] = [];

export function FlowsPage() {
  const { rows: flows, error } = useFlows();
  const { reconnect } = useClient();
  const { rows: runs = none } = useRuns();
  const { starting, trigger } = useTriggerFlow();
  const latest = useMemo(() => latestRuns(runs), [runs]);

  return (
    <Page title="Flows" lead="What can be run. Start one and watch it work.">
      {flows === undefined && error !== undefined ? (
        <Card>
          <Failure error={error} onRetry={reconnect} />
        </Card>
      ) : flows === undefined ? (
        <Loading label="Loading flows">
          <Grid>
            {[1, 2, 3, 4].map((card) => (
              <Card key={card} className="h-56 space-y-3 p-5">
                <Skeleton className="h-4 w-32" />
                <Skeleton className="h-3 w-full" />
                <Skeleton className="h-3 w-2/3" />
              </Card>
            ))}
          </Grid>
        </Loading>
      ) : flows.length === 0 ? (
        <Card>
          <Empty icon={Workflow} title="No flows yet">
            Insert a row into the table <code className="font-mono">flows</code>, and its card appears here.
          </Empty>
        </Card>
      ) : (
        <Grid>
          {flows.map((flow) => (
            <FlowCard
              key={flow.flow_id}
              flow={flow}
              latest={latest.get(flow.flow_id)}
              recent={recentRuns(runs, flow.flow_id, BARS)}
              starting={starting.has(flow.flow_id)}
              onTrigger={() => void trigger(flow.flow_id)}
            />
          ))}
        </Grid>
      )}
    </Page>
  );
}

function Grid({ children }: { children: React.ReactNode }) {
  return <div className="grid gap-4 sm:grid-cols-2 xl:grid-cols-3">{children}</div>;
}
