import { ArrowLeft, CircleAlert, RotateCcw, SearchX, Square } from "lucide-react";
import type { ReactNode } from "react";
import { Link, paths } from "@/app/router";
import { useAuditedRun } from "@/audit/audit";
import { Watchers } from "@/features/presence/components/watchers";
import { useWatchersOfRun } from "@/features/presence/hooks/use-watchers";
import { canCancel, canRetry, isFinished, runLabel } from "@/features/runs/runs";
import { ago, dateAndTime, duration, elapsed, plural } from "@/lib/format";
import { useNow } from "@/lib/now";
import { useCommitCount } from "@/lib/probe";
import type { RunUpdate } from "@/realtime.gen";
import { Button } from "@/ui/button";
import { Card, CardHeader } from "@/ui/card";
import { Progress } from "@/ui/progress";
import { Empty, Failure, Loading, Skeleton } from "@/ui/states";
import { StatusBadge } from "@/ui/status";
import { useRunActions } from "../hooks/use-run-actions";
import { useRun } from "../hooks/use-run";
import { LogView } from "./log-view";
import { StepsTimeline } from "./steps-timeline";

export function RunPage({ runId }: { runId: string }) {
  const { data, error, missing, reload } = useRun(runId);
  const present = useWatchersOfRun(missing ? null : runId);
  useAuditedRun(missing ? null : runId);
  useCommitCount("run");

  return (
    <div className="mx-auto w-full max-w-6xl px-4 pt-4 pb-16 sm:px-6 lg:px-8 lg:pt-6">
      <div className="mb-3 flex h-8 items-center justify-between">
        <Link to={paths.runs()} className="-ml-1 inline-flex h-8 items-center gap-1.5 rounded-md px-1 text-[13px] text-muted hover:text-text">
          <ArrowLeft aria-hidden className="size-3.5" /> Runs
        </Link>
        <Watchers {...present} />
      </div>
      {data !== undefined ? (
        <>
          <RunHeader run={data.run} />
          <div className="grid items-start gap-4 lg:grid-cols-[minmax(19rem,5fr)_8fr]">
            <Card>
              <CardHeader title="Steps" hint={`${data.steps.filter((step) => step.status === "succeeded").length} of ${data.steps.length}`} />
              <StepsTimeline steps={data.steps} />
            </Card>
            <Card className="min-w-0">
              <CardHeader title="Log" hint={plural(data.log.length, "line")} />
              <LogView lines={data.log} steps={data.steps} live={!isFinished(data.run.status)} />
            </Card>
          </div>
        </>
      ) : missing ? (
        <Card>
          <title>Run not found · FlowCraft</title>
          <h1 className="sr-only">Run not found</h1>
          <Empty icon={SearchX} title="There is no such run">
            It may have been pruned: finished runs are kept for a while only.{" "}
            <Link to={paths.runs()} className="font-medium text-accent hover:underline">
              See all runs
            </Link>
          </Empty>
        </Card>
      ) : error !== undefined ? (
        <Card>
          <Failure error={error} onRetry={reload} />
        </Card>
      ) : (
        <RunSkeleton />
      )}
    </div>
  );
}

function RunHeader({ run: known }: { run: RunUpdate }) {
  const { run, pending, cancel, retry } = useRunActions(known);
  return (
    <header className="mb-4" data-testid="run" data-run-id={run.run_id} data-status={run.status} data-version={known.version} data-pending={pending}>
      <title>{`#${run.number} ${run.flow_name} · FlowCraft`}</title>
      <div className="flex flex-wrap items-center gap-x-3 gap-y-3">
        <h1 className="flex min-w-0 items-baseline gap-2 text-xl font-semibold tracking-tight">
          <span className="truncate">{run.flow_name}</span>
          <span className="font-normal text-faint tabular-nums">#{run.number}</span>
        </h1>
        <StatusBadge status={run.status} label={runLabel(run)} data-testid="run-status" />
        {pending && (
          <span role="status" data-testid="run-pending" className="text-xs text-faint">
            Saving…
          </span>
        )}
        <div className="ml-auto flex gap-2 empty:hidden max-sm:order-last max-sm:w-full max-sm:*:flex-1">
          {/* Each in its own place: a second click on Cancel must not meet Retry. */}
          <Button look={canRetry(run) ? "primary" : "secondary"} onClick={retry} disabled={pending || !canRetry(run)} data-testid="retry">
            <RotateCcw aria-hidden className="size-4" /> Retry
          </Button>
          <Button look="danger" onClick={cancel} disabled={pending || !canCancel(run)} data-testid="cancel">
            <Square aria-hidden className="size-3.5 fill-current" /> Cancel
          </Button>
        </div>
      </div>
      <Facts run={run} />
      <div className="mt-4 flex items-center gap-3">
        <Progress value={run.progress} status={run.status} label="Progress of this run" className="h-2 flex-1" />
        <span data-testid="run-progress" className="w-10 text-right text-[13px] font-medium tabular-nums">
          {Math.round(run.status === "succeeded" ? 100 : run.progress)}%
        </span>
      </div>
      {run.error !== null && (
        <p role="alert" data-testid="run-error" className="mt-4 flex gap-2.5 rounded-xl border border-failed/30 bg-failed/7 px-3.5 py-3 text-[13px]">
          <CircleAlert aria-hidden className="mt-0.5 size-4 shrink-0 text-failed" />
          <span className="min-w-0 break-words">{run.error}</span>
        </p>
      )}
    </header>
  );
}

function Facts({ run }: { run: RunUpdate }) {
  const now = useNow();
  const span = elapsed(run, now);
  return (
    <dl className="mt-2.5 flex flex-wrap gap-x-5 gap-y-1 text-[13px] text-muted">
      <Fact name="Triggered">{run.triggered_by === "schedule" ? "by schedule" : "by hand"}</Fact>
      <Fact name="Created">
        <time dateTime={run.created_at} title={dateAndTime(run.created_at)}>
          {ago(run.created_at, now)}
        </time>
      </Fact>
      {span !== null && <Fact name="Duration">{duration(span)}</Fact>}
      <Fact name="Attempt">{run.attempt}</Fact>
      {run.status === "queued" && run.retry_at !== null && <Fact name="Next try">{until(run.retry_at, now)}</Fact>}
    </dl>
  );
}

function until(at: string, now: number): string {
  const wait = Date.parse(at) - now;
  return wait <= 0 ? "now" : `in ${duration(wait)}`;
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div className="flex gap-1.5">
      <dt className="text-faint">{name}</dt>
      <dd className="text-text tabular-nums">{children}</dd>
    </div>
  );
}

function RunSkeleton() {
  return (
    <Loading label="Loading the run">
      <Skeleton className="mb-3 h-6 w-60" />
      <Skeleton className="mb-5 h-3.5 w-80 max-w-full" />
      <Skeleton className="mb-5 h-2 w-full" />
      <div className="grid gap-4 lg:grid-cols-[minmax(19rem,5fr)_8fr]">
        <Card className="h-72" />
        <Card className="h-96" />
      </div>
    </Loading>
  );
}
