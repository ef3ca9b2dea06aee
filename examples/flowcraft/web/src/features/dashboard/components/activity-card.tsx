import { useClient } from "@flowcraft/realtime/react";
import { Activity } from "lucide-react";
import { useState } from "react";
import { Link, paths } from "@/app/router";
import { classes } from "@/lib/classes";
import { ago, dateAndTime, duration, elapsed } from "@/lib/format";
import { useNow } from "@/lib/now";
import type { RunUpdate } from "@/realtime.gen";
import { Card, CardHeader } from "@/ui/card";
import { Empty, Failure, Loading, Skeleton } from "@/ui/states";
import { StatusIcon } from "@/ui/status";
import { useActivity } from "../hooks/use-activity";

const SHOWN = 8;

export function ActivityCard() {
  const { activity, error } = useActivity();
  const { reconnect } = useClient();
  const now = useNow();
  const [opened] = useState(() => Date.now()); // what came since is new to the reader, and flashes once
  return (
    <Card data-testid="activity">
      <CardHeader title="Recent activity">
        <Link to={paths.runs()} className="text-[13px] font-medium text-muted hover:text-text">
          All runs
        </Link>
      </CardHeader>
      {activity !== undefined && activity.length > 0 ? (
        <ol className="py-1.5">
          {activity.slice(0, SHOWN).map(({ key, at, run }) => (
            <li
              key={key}
              className={classes("relative flex items-center gap-3 px-4 py-2 hover:bg-hover/60 sm:px-5", Date.parse(at) > opened && "row-new")}
            >
              <StatusIcon status={run.status} />
              <div className="min-w-0 flex-1">
                <p className="flex items-baseline gap-1.5">
                  <Link to={paths.run(run.run_id)} className="truncate text-[13px] font-medium after:absolute after:inset-0">
                    {run.flow_name}
                  </Link>
                  <span className="text-xs text-faint tabular-nums">#{run.number}</span>
                </p>
                <p className="truncate text-xs text-muted">{sentence(run)}</p>
              </div>
              <time dateTime={at} title={dateAndTime(at)} className="shrink-0 text-xs text-faint tabular-nums">
                {ago(at, now)}
              </time>
            </li>
          ))}
        </ol>
      ) : activity !== undefined ? (
        <Empty icon={Activity} title="Quiet so far">
          Trigger a flow to see its activity here.
        </Empty>
      ) : error !== undefined ? (
        <Failure error={error} onRetry={reconnect} />
      ) : (
        <Loading label="Loading activity">
          {Array.from({ length: SHOWN }, (_, index) => (
            <div key={index} className="flex items-center gap-3 px-5 py-3">
              <Skeleton className="size-4 rounded-full" />
              <Skeleton className="h-3 w-40" />
            </div>
          ))}
        </Loading>
      )}
    </Card>
  );
}

function sentence(run: RunUpdate): string {
  const took = run.finished_at === null ? null : elapsed(run, 0);
  switch (run.status) {
    case "queued":
      return run.attempt > 1 || run.retry_at !== null ? "Queued for another try" : run.triggered_by === "schedule" ? "Queued by schedule" : "Queued by hand";
    case "running":
      return run.current_step === null ? "Started" : `Running ${run.current_step}`;
    case "succeeded":
      return took === null ? "Succeeded" : `Succeeded in ${duration(took)}`;
    case "failed":
      return run.error ?? "Failed";
    case "cancelled":
      return "Cancelled";
    default:
      return run.status satisfies never;
  }
}
