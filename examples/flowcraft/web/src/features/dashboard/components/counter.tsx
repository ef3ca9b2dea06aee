import { classes } from "@/lib/classes";
import { count } from "@/lib/format";
import { Card } from "@/ui/card";
import { Sparkline } from "@/ui/sparkline";
import { Skeleton } from "@/ui/states";

const tones = { running: "text-running", queued: "text-queued", accent: "text-accent", succeeded: "text-succeeded" } as const;

interface Props {
  readonly name: string;
  readonly testid: string;
  /** Undefined while loading. */
  readonly value: number | string | undefined;
  readonly note: string;
  readonly tone: keyof typeof tones;
  readonly trend?: readonly number[];
}

export function Counter({ name, testid, value, note, tone, trend }: Props) {
  return (
    <Card className="relative overflow-hidden p-4 pb-9 sm:p-5 sm:pb-10">
      <p className="flex items-center gap-2 text-[13px] font-medium text-muted">
        <span aria-hidden className={classes("size-2 rounded-full bg-current", tones[tone])} />
        {name}
      </p>
      {value === undefined ? (
        <Skeleton className="mt-2 mb-1 h-7 w-16" />
      ) : (
        <p data-testid={testid} className="mt-1 text-[28px] leading-9 font-semibold tracking-tight tabular-nums">
          {typeof value === "number" ? count(value) : value}
        </p>
      )}
      <p className="min-h-4 truncate text-xs text-faint">{note}</p>
      {trend !== undefined && <Sparkline values={trend} className={classes("absolute inset-x-0 bottom-0 h-7 w-full", tones[tone])} />}
    </Card>
  );
}
