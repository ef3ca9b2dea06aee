import { createColumnHelper, tableFeatures, useTable } from "@tanstack/react-table";
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useLayoutEffect, useRef, useState, type KeyboardEvent } from "react";
import { Link, paths } from "@/app/router";
import { classes } from "@/lib/classes";
import { ago, capitalized, dateAndTime, duration, elapsed } from "@/lib/format";
import { useNow } from "@/lib/now";
import type { RunUpdate } from "@/realtime.gen";
import { Progress } from "@/ui/progress";
import { StatusBadge, StatusIcon } from "@/ui/status";
import { runLabel } from "../runs";

const ROW_HEIGHT = 60;
const features = tableFeatures({});
const column = createColumnHelper<typeof features, RunUpdate>();
const columns = column.columns([
  column.display({ id: "run", header: "Run", cell: ({ row }) => <RunCell run={row.original} /> }),
  column.display({ id: "status", header: "Status", cell: ({ row }) => <StatusBadge status={row.original.status} label={runLabel(row.original)} /> }),
  column.display({ id: "progress", header: "Progress", cell: ({ row }) => <ProgressCell run={row.original} /> }),
  column.display({ id: "started", header: "Started", cell: ({ row }) => <StartedCell run={row.original} /> }),
  column.display({ id: "duration", header: "Duration", cell: ({ row }) => <DurationCell run={row.original} /> }),
]);

const widths: Readonly<Record<string, string>> = {
  run: "pl-4 sm:pl-5",
  status: "hidden sm:table-cell sm:w-36",
  progress: "hidden md:table-cell md:w-52",
  started: "hidden sm:table-cell sm:w-32",
  duration: "w-24 pr-4 text-right sm:w-28 sm:pr-5",
};

/** A live table, newest first. Only the rows in view are in the document; j and k move, Enter opens. */
export function RunsTable({ runs }: { runs: readonly RunUpdate[] }) {
  const body = useRef<HTMLTableSectionElement>(null);
  const [top, setTop] = useState(0);
  useLayoutEffect(() => setTop(body.current?.offsetTop ?? 0), []);

  const table = useTable({ features, columns, data: runs, getRowId: (run) => run.run_id });
  const rows = table.getRowModel().rows;
  const virtual = useWindowVirtualizer({
    count: rows.length,
    estimateSize: () => ROW_HEIGHT,
    overscan: 12,
    scrollMargin: top,
    getItemKey: (index) => rows[index]?.id ?? index,
  });
  const items = virtual.getVirtualItems();
  const before = (items[0]?.start ?? top) - top;
  const after = virtual.getTotalSize() - ((items.at(-1)?.end ?? top) - top);

  return (
    <table className="w-full table-fixed border-collapse text-left" onKeyDown={moveFocus} data-testid="runs-table">
      <thead className="sticky top-14 z-10 hidden bg-subtle text-xs text-muted shadow-[0_1px_0_var(--line)] sm:table-header-group">
        {table.getHeaderGroups().map((group) => (
          <tr key={group.id}>
            {group.headers.map((header) => (
              <th key={header.id} scope="col" className={classes("h-9 px-3 font-medium", widths[header.column.id])}>
                <table.FlexRender header={header} />
              </th>
            ))}
          </tr>
        ))}
      </thead>
      <tbody ref={body}>
        {before > 0 && <Spacer height={before} />}
        {items.map((item) => {
          const row = rows[item.index];
          if (row === undefined) return null;
          const run = row.original;
          return (
            <tr
              key={row.id}
              data-testid="run-row"
              data-run-id={run.run_id}
              data-status={run.status}
              data-version={run.version}
              style={{ height: ROW_HEIGHT }}
              className="group relative border-b last:border-b-0 hover:bg-hover/60 has-[a:focus-visible]:bg-hover/60"
            >
              {row.getAllCells().map((cell) => (
                <td key={cell.id} className={classes("px-3 align-middle", widths[cell.column.id])}>
                  <table.FlexRender cell={cell} />
                </td>
              ))}
            </tr>
          );
        })}
        {after > 0 && <Spacer height={after} />}
      </tbody>
    </table>
  );
}

function Spacer({ height }: { height: number }) {
  return (
    <tr aria-hidden>
      <td className="p-0" style={{ height }} />
    </tr>
  );
}

function moveFocus(event: KeyboardEvent<HTMLTableElement>): void {
  const by = event.key === "j" || event.key === "ArrowDown" ? 1 : event.key === "k" || event.key === "ArrowUp" ? -1 : 0;
  if (by === 0 || event.metaKey || event.ctrlKey || event.altKey) return;
  const links = [...event.currentTarget.querySelectorAll<HTMLAnchorElement>("a[data-row]")];
  const here = links.findIndex((link) => link === document.activeElement);
  const next = links[here + by];
  if (next === undefined) return;
  event.preventDefault();
  next.focus({ preventScroll: true });
  next.closest("tr")?.scrollIntoView({ block: "nearest" });
}

function RunCell({ run }: { run: RunUpdate }) {
  return (
    <div className="flex min-w-0 items-center gap-3">
      <StatusIcon status={run.status} className="sm:hidden" />
      <div className="min-w-0 flex-1">
        <p className="flex min-w-0 items-baseline gap-2">
          <Link
            to={paths.run(run.run_id)}
            data-row
            className="truncate font-medium after:absolute after:inset-0 focus-visible:outline-none focus-visible:after:rounded-md focus-visible:after:outline-2 focus-visible:after:-outline-offset-2 focus-visible:after:outline-accent"
          >
            {run.flow_name}
          </Link>
          <span className="shrink-0 text-xs text-faint tabular-nums">#{run.number}</span>
          {run.attempt > 1 && <span className="shrink-0 rounded bg-subtle px-1.5 text-[11px] font-medium text-muted">try {run.attempt}</span>}
        </p>
        <p className="truncate text-xs text-muted">{detail(run)}</p>
      </div>
    </div>
  );
}

/** The one thing worth knowing about a run besides its status. */
function detail(run: RunUpdate): string {
  if (run.status === "failed") return run.error ?? "Failed";
  if (run.status === "running") return run.current_step ?? "Starting";
  if (run.status === "queued" && run.retry_at !== null) return "Waits for its next try";
  return run.triggered_by === "schedule" ? `${capitalized(run.status)} · by schedule` : `${capitalized(run.status)} · by hand`;
}

function ProgressCell({ run }: { run: RunUpdate }) {
  return (
    <div className="flex items-center gap-3">
      <Progress value={run.progress} status={run.status} label={`Progress of run ${run.number}`} className="flex-1" />
      <span className="w-9 text-right text-xs text-muted tabular-nums">{Math.round(run.progress)}%</span>
    </div>
  );
}

function StartedCell({ run }: { run: RunUpdate }) {
  const now = useNow();
  const at = run.started_at;
  if (at === null) return <span className="text-[13px] text-faint">–</span>;
  return (
    <time dateTime={at} title={dateAndTime(at)} className="text-[13px] text-muted tabular-nums">
      {ago(at, now)}
    </time>
  );
}

function DurationCell({ run }: { run: RunUpdate }) {
  const now = useNow();
  const span = elapsed(run, now);
  return (
    <>
      <span className="text-[13px] whitespace-nowrap tabular-nums">{span === null ? <span className="text-faint">–</span> : duration(span)}</span>
      <span className="block text-xs text-muted tabular-nums sm:hidden">
        {run.status === "running" ? `${Math.round(run.progress)}%` : run.started_at !== null && ago(run.started_at, now)}
      </span>
    </>
  );
}
