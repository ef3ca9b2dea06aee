import { useClient } from "@flowcraft/realtime/react";
import { Gauge } from "lucide-react";
import { useMemo } from "react";
import { count, duration, percent } from "@/lib/format";
import { useCommitCount } from "@/lib/probe";
import { Watchers } from "@/features/presence/components/watchers";
import { useWatchers } from "@/features/presence/hooks/use-watchers";
import { Card } from "@/ui/card";
import { Page } from "@/ui/page";
import { Empty, Failure } from "@/ui/states";
import { useDashboard } from "../hooks/use-dashboard";
import { ActivityCard } from "./activity-card";
import { Counter } from "./counter";
import { OutcomesCard } from "./outcomes-card";

export function DashboardPage() {
  const { rows: history, error } = useDashboard();
  const { reconnect } = useClient();
  const present = useWatchers();
  const now = history?.at(-1);
  const running = useMemo(() => (history ?? []).map((figures) => figures.running), [history]);
  const queued = useMemo(() => (history ?? []).map((figures) => figures.queued), [history]);
  const rate = useMemo(() => (history ?? []).map((figures) => figures.runs_per_minute), [history]);
  useCommitCount("dashboard");

  if (history === undefined && error !== undefined)
    return (
      <Page title="Dashboard">
        <Card>
          <Failure error={error} onRetry={reconnect} />
        </Card>
      </Page>
    );
  if (history?.length === 0)
    return (
      <Page title="Dashboard">
        <Card>
          <Empty icon={Gauge} title="Nothing measured yet">
            The first figures appear here within seconds of the service's start.
          </Empty>
        </Card>
      </Page>
    );
  return (
    <Page title="Dashboard" actions={<Watchers {...present} />} lead="Everything on this page moves when a transaction commits.">
      <div className="mb-4 grid grid-cols-2 gap-3 sm:gap-4 lg:grid-cols-4">
        <Counter name="Running" testid="counter-running" value={now?.running} tone="running" trend={running} note="right now" />
        <Counter name="Queued" testid="counter-queued" value={now?.queued} tone="queued" trend={queued} note="waiting for a worker" />
        <Counter name="Finished" testid="counter-rate" value={now?.runs_per_minute} tone="accent" trend={rate} note="in the last minute" />
        <Counter
          name="Success rate"
          testid="counter-success-rate"
          value={now === undefined ? undefined : now.success_rate === null ? "–" : percent(now.success_rate)}
          tone="succeeded"
          note={now === undefined ? "" : now.mean_seconds === null ? "last 5 minutes" : `runs take ${duration(now.mean_seconds * 1000)}`}
        />
      </div>
      <div className="grid items-start gap-4 lg:grid-cols-[1fr_20rem] xl:grid-cols-[1fr_22rem]">
        <OutcomesCard
          totals={now === undefined ? null : { succeeded: count(now.succeeded), failed: count(now.failed), cancelled: count(now.cancelled) }}
        />
        <ActivityCard />
      </div>
    </Page>
  );
}
