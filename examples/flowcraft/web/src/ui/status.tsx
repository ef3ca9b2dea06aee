import { Ban, Circle, CircleCheck, CircleDashed, CircleX, LoaderCircle, RotateCw, type LucideIcon } from "lucide-react";
import { classes } from "@/lib/classes";
import { capitalized } from "@/lib/format";
import type { RunUpdate, StepUpdate } from "@/realtime.gen";

export type Status = RunUpdate["status"] | StepUpdate["status"];

interface Look {
  readonly icon: LucideIcon;
  readonly color: string;
  readonly soft: string;
  readonly bar: string;
}

export const statusLook: Readonly<Record<Status, Look>> = {
  pending: { icon: Circle, color: "text-faint", soft: "bg-subtle text-muted", bar: "bg-line-strong" },
  queued: { icon: CircleDashed, color: "text-queued", soft: "bg-queued/12 text-muted", bar: "bg-queued" },
  running: { icon: LoaderCircle, color: "text-running", soft: "bg-running/10 text-running", bar: "bg-running" },
  retrying: { icon: RotateCw, color: "text-warning", soft: "bg-warning/12 text-warning", bar: "bg-warning" },
  succeeded: { icon: CircleCheck, color: "text-succeeded", soft: "bg-succeeded/10 text-succeeded", bar: "bg-succeeded" },
  failed: { icon: CircleX, color: "text-failed", soft: "bg-failed/10 text-failed", bar: "bg-failed" },
  cancelled: { icon: Ban, color: "text-cancelled", soft: "bg-cancelled/14 text-muted", bar: "bg-cancelled" },
};

export function StatusIcon({ status, className }: { status: Status; className?: string }) {
  const { icon: Icon, color } = statusLook[status];
  const moving = status === "running" && "animate-spin [animation-duration:1.4s]";
  return <Icon aria-hidden className={classes("size-4 shrink-0", color, moving, className)} />;
}

export function StatusBadge({ status, label, ...rest }: { status: Status; label?: string | undefined; "data-testid"?: string }) {
  return (
    <span
      {...rest}
      data-status={status}
      className={classes(
        "inline-flex h-6 items-center gap-1.5 rounded-full pr-2.5 pl-1.5 text-xs font-medium whitespace-nowrap",
        statusLook[status].soft,
      )}
    >
      <StatusIcon status={status} className="size-3.5" />
      {label ?? capitalized(status)}
    </span>
  );
}
