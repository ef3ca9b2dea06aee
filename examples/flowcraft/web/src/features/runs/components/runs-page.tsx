import { useClient } from "@flowcraft/realtime/react";
import { Inbox, ListFilter } from "lucide-react";
import { navigate, paths } from "@/app/router";
import { classes } from "@/lib/classes";
import { capitalized, count } from "@/lib/format";
import { useCommitCount } from "@/lib/probe";
import { Card } from "@/ui/card";
import { Page } from "@/ui/page";
import { Empty, Failure, Loading, Skeleton } from "@/ui/states";
import { useRuns } from "../hooks/use-runs";
import { countByStatus, filtered, runFilters, type RunFilter } from "../runs";
import { RunsTable } from "./runs-table";

export function RunsPage({ filter }: { filter: RunFilter }) {
  const { rows: runs, error } = useRuns();
  const { reconnect } = useClient();
  const shown = filtered(runs ?? [], filter);
  useCommitCount("runs");

  return (
    <Page title="Runs" lead="Every run that is kept. A row changes when its row in the database does.">
      <Filters filter={filter} counts={runs === undefined ? undefined : countByStatus(runs)} />
      <Card className="overflow-clip">
        {runs === undefined && error !== undefined ? (
          <Failure error={error} onRetry={reconnect} />
        ) : runs === undefined ? (
          <TableSkeleton />
        ) : shown.length > 0 ? (
          <RunsTable runs={shown} />
        ) : runs.length === 0 ? (
          <Empty icon={Inbox} title="No runs yet">
            Trigger a flow, and its run appears here by itself.
          </Empty>
        ) : (
          <Empty icon={ListFilter} title={`No ${filter} runs`}>
            None of the runs is {filter} right now. This list fills by itself when one is.
          </Empty>
        )}
      </Card>
    </Page>
  );
}

function Filters({ filter, counts }: { filter: RunFilter; counts: Readonly<Record<RunFilter, number>> | undefined }) {
  return (
    <div role="group" aria-label="Filter by status" className="no-scrollbar -mx-4 mb-4 flex gap-1.5 overflow-x-auto px-4 py-1 sm:mx-0 sm:px-0">
      {runFilters.map((option) => (
        <button
          key={option}
          type="button"
          data-testid={`filter-${option}`}
          aria-pressed={option === filter}
          onClick={() => navigate(paths.runs(option), "replace")}
          className={classes(
            "inline-flex h-8 shrink-0 items-center gap-2 rounded-full border px-3 text-[13px] font-medium transition-colors",
            option === filter ? "border-text bg-text text-page" : "bg-surface text-muted hover:border-line-strong hover:text-text",
          )}
        >
          {capitalized(option)}
          {counts !== undefined && <span className="text-xs tabular-nums">{count(counts[option])}</span>}
        </button>
      ))}
    </div>
  );
}

function TableSkeleton() {
  return (
    <Loading label="Loading runs">
      {Array.from({ length: 8 }, (_, index) => (
        <div key={index} className="flex h-15 items-center gap-4 border-b px-5 last:border-b-0">
          <Skeleton className="size-4 rounded-full" />
          <Skeleton className="h-3.5 w-40" />
          <Skeleton className="ml-auto h-3.5 w-24" />
        </div>
      ))}
    </Loading>
  );
}
