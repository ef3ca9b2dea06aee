import { useClient } from "@flowcraft/realtime/react";
import { lazy, Suspense, useMemo, useState } from "react";
import { Boundary } from "@/app/boundary";
import type { Outcome } from "@/features/runs/runs";
import { capitalized, plural } from "@/lib/format";
import { useNow } from "@/lib/now";
import { classes } from "@/lib/classes";
import { Card, CardHeader } from "@/ui/card";
import { Segments } from "@/ui/segments";
import { Failure, Loading, Skeleton } from "@/ui/states";
import { statusLook } from "@/ui/status";
import { useFinishes } from "../hooks/use-finishes";
import { outcomes, seriesOf, windows, type Series } from "../plot";

// uPlot reads `navigator.language` when it is loaded, and fails where that is no language, as in WebKitGTK under LANG=C.
const OutcomesPlot = lazy(() => import("./outcomes-plot"));

const views = [
  { value: "second", label: "Per second" },
  { value: "minute", label: "Per minute" },
] as const;
const spans = { second: "last minute", minute: "last 30 minutes" } as const;

export function OutcomesCard({ totals }: { totals: Readonly<Record<Outcome, string>> | null }) {
  const { finishes, error } = useFinishes();
  const { reconnect } = useClient();
  const [view, setView] = useState<keyof typeof windows>("second");
  const now = useNow();
  const series = useMemo(() => (finishes === undefined ? null : seriesOf(finishes, windows[view], now)), [finishes, view, now]);

  return (
    <Card className="min-w-0" data-testid="outcomes">
      <CardHeader title="Finished runs" hint={spans[view]}>
        <Segments label="Resolution" segments={views} value={view} onChange={setView} />
      </CardHeader>
      {series !== null ? (
        <div className="px-2 pt-4 pb-2 sm:px-3" role="img" aria-label={inWords(series, spans[view])}>
          <Boundary fallback={(error) => <Failure error={error} onRetry={() => location.reload()} />}>
            <Suspense fallback={<div className="h-66 w-full" />}>
              <OutcomesPlot series={series} sliceMs={windows[view].sliceMs} />
            </Suspense>
          </Boundary>
        </div>
      ) : error !== undefined ? (
        <Failure error={error} onRetry={reconnect} />
      ) : (
        <Loading label="Loading the plot">
          <Skeleton className="m-5 h-64 rounded-lg" />
        </Loading>
      )}
      <dl className="grid grid-cols-3 border-t">
        {outcomes.map((outcome) => (
          <div key={outcome} className="border-l px-4 py-3 first:border-l-0 sm:px-5">
            <dt className="flex items-center gap-2 text-xs text-muted">
              <span aria-hidden className={classes("size-2 rounded-[3px]", statusLook[outcome].bar)} />
              {capitalized(outcome)}
            </dt>
            <dd data-testid={`counter-${outcome}`} className="mt-0.5 text-base font-semibold tabular-nums">
              {totals === null ? <Skeleton className="my-1 h-4 w-10" /> : totals[outcome]}
            </dd>
          </div>
        ))}
      </dl>
    </Card>
  );
}

function inWords(series: Series, span: string): string {
  const sums = outcomes.map((outcome) => ({ outcome, sum: series[outcome].reduce((sum, value) => sum + value, 0) }));
  return `Finished runs, ${span}: ${sums.map(({ outcome, sum }) => `${plural(sum, "run")} ${outcome}`).join(", ")}`;
}
