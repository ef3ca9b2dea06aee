import * as Menu from "@radix-ui/react-dropdown-menu";
import { ArrowRight, ChevronRight, Ellipsis, Pause, Play } from "lucide-react";
import { useCallback } from "react";
import { Link, paths } from "@/app/router";
import { useToast } from "@/app/toasts";
import { runLabel } from "@/features/runs/runs";
import { api } from "@/lib/api";
import { classes } from "@/lib/classes";
import { ago, capitalized, duration, elapsed } from "@/lib/format";
import { useNow } from "@/lib/now";
import { useSettledAction } from "@/lib/use-settled-action";
import type { FlowUpdate, RunUpdate } from "@/realtime.gen";
import { Button } from "@/ui/button";
import { Card } from "@/ui/card";
import { Progress } from "@/ui/progress";
import { statusLook, StatusIcon } from "@/ui/status";
import { Tip } from "@/ui/tip";

interface Props {
  readonly flow: FlowUpdate;
  readonly latest: RunUpdate | undefined;
  readonly recent: readonly RunUpdate[];
  readonly starting: boolean;
  readonly onTrigger: () => void;
}

export function FlowCard({ flow, latest, recent, starting, onTrigger }: Props) {
  const toast = useToast();
  const refused = useCallback((reason: string) => toast({ tone: "bad", title: "The flow was not changed", text: reason }), [toast]);
  const { shown, pending, run } = useSettledAction(flow, refused);
  const toggle = () =>
    run(
      (current) => ({ ...current, paused: !flow.paused }),
      () => (flow.paused ? api.resume(flow.flow_id) : api.pause(flow.flow_id)),
    );

  return (
    <Card
      data-testid="flow-card"
      data-flow-id={flow.flow_id}
      data-paused={shown.paused}
      className="flex flex-col transition-shadow hover:border-line-strong"
    >
      <div className="flex items-start gap-3 p-4 pb-3 sm:p-5 sm:pb-3">
        <div className="min-w-0 flex-1">
          <h2 className="flex items-center gap-2 font-semibold tracking-tight">
            <span className="truncate">{shown.name}</span>
            {shown.paused && <span className="rounded-full bg-warning/12 px-2 py-0.5 text-[11px] font-medium text-warning">Paused</span>}
          </h2>
          <p className="mt-1 line-clamp-2 min-h-10 text-[13px] text-pretty text-muted">{shown.description}</p>
        </div>
        <FlowMenu flow={shown} pending={pending} onToggle={toggle} />
      </div>

      <ol aria-label="Steps" className="flex flex-wrap items-center gap-x-0.5 gap-y-1.5 px-4 sm:px-5">
        {shown.steps.map((step, index) => (
          <li key={`${index}-${step}`} className="flex items-center gap-0.5">
            <span className="rounded-md bg-subtle px-1.5 py-0.5 text-[11px] font-medium text-muted">{step}</span>
            {index < shown.steps.length - 1 && <ChevronRight aria-hidden className="size-3 text-faint" />}
          </li>
        ))}
      </ol>

      <History runs={recent} />

      <div className="flex items-center gap-3 border-t px-4 py-3 sm:px-5">
        <Latest run={latest} />
        <Button look="primary" size="small" data-testid="trigger" busy={starting} disabled={shown.paused} onClick={onTrigger}>
          <Play aria-hidden className="size-3.5 fill-current" /> Run
        </Button>
      </div>
    </Card>
  );
}

function FlowMenu({ flow, pending, onToggle }: { flow: FlowUpdate; pending: boolean; onToggle: () => void }) {
  const item = "flex h-8 items-center gap-2.5 rounded-md px-2 text-[13px] outline-none select-none data-highlighted:bg-hover";
  return (
    <Menu.Root>
      <Menu.Trigger asChild>
        <Button look="quiet" size="icon" aria-label={`More about ${flow.name}`} data-testid="flow-menu" className="-mt-1.5 -mr-2" aria-busy={pending}>
          <Ellipsis aria-hidden className="size-4" />
        </Button>
      </Menu.Trigger>
      <Menu.Portal>
        <Menu.Content align="end" sideOffset={4} className="animate-in z-50 min-w-44 rounded-xl border bg-surface p-1 shadow-lifted">
          <Menu.Item className={item} data-testid="flow-pause" onSelect={onToggle}>
            {flow.paused ? <Play aria-hidden className="size-3.5 text-muted" /> : <Pause aria-hidden className="size-3.5 text-muted" />}
            {flow.paused ? "Resume" : "Pause"}
          </Menu.Item>
        </Menu.Content>
      </Menu.Portal>
    </Menu.Root>
  );
}

/** The last runs as bars: how long each took, and how it ended. */
function History({ runs }: { runs: readonly RunUpdate[] }) {
  const now = useNow();
  const longest = Math.max(1, ...runs.map((run) => elapsed(run, now) ?? 0));
  return (
    <div className="mx-4 mt-auto mb-4 flex h-13 pt-4 items-end gap-0.75 sm:mx-5" aria-hidden={runs.length === 0}>
      {runs.length === 0 && <span className="text-xs text-faint">Never run</span>}
      {runs.map((run) => (
        <Tip key={run.run_id} text={`#${run.number} ${run.status}${took(run, now)}`}>
          <Link
            to={paths.run(run.run_id)}
            aria-label={`Run ${run.number}, ${run.status}`}
            tabIndex={-1}
            className="flex h-full max-w-2.5 flex-1 items-end"
          >
            <span
              className={classes("w-full rounded-[2px] opacity-75 transition-[height] hover:opacity-100", statusLook[run.status].bar)}
              style={{ height: `${Math.max(14, ((elapsed(run, now) ?? 0) / longest) * 100)}%` }}
            />
          </Link>
        </Tip>
      ))}
    </div>
  );
}

function took(run: RunUpdate, now: number): string {
  const span = elapsed(run, now);
  return span === null ? "" : ` · ${duration(span)}`;
}

function Latest({ run }: { run: RunUpdate | undefined }) {
  const now = useNow();
  if (run === undefined) return <p className="flex-1 text-[13px] text-faint">No runs yet</p>;
  return (
    <Link
      to={paths.run(run.run_id)}
      data-testid="flow-latest"
      data-status={run.status}
      className="group flex min-w-0 flex-1 items-center gap-2 rounded-md text-[13px] text-muted hover:text-text"
    >
      <StatusIcon status={run.status} />
      <span className="sr-only">{capitalized(run.status)} run</span>
      {run.status === "running" ? (
        <>
          <span className="shrink-0 tabular-nums">#{run.number}</span>
          <Progress value={run.progress} status={run.status} label={`Progress of run ${run.number}`} className="max-w-28 flex-1" />
        </>
      ) : (
        <span className="truncate tabular-nums">
          #{run.number} · {run.finished_at === null ? (runLabel(run) ?? capitalized(run.status)) : ago(run.finished_at, now)}
        </span>
      )}
      <ArrowRight aria-hidden className="size-3.5 shrink-0 opacity-0 transition-opacity group-hover:opacity-100" />
    </Link>
  );
}
