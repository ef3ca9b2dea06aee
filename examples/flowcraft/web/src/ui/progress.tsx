import { classes } from "@/lib/classes";
import { statusLook, type Status } from "./status";

export function Progress({ value, status, label, className }: { value: number; status: Status; label: string; className?: string }) {
  const shown = status === "succeeded" ? 100 : value;
  return (
    <div
      role="progressbar"
      aria-label={label}
      aria-valuenow={Math.round(shown)}
      aria-valuemin={0}
      aria-valuemax={100}
      className={classes("h-1.5 overflow-hidden rounded-full bg-line/80", className)}
    >
      <div
        className={classes("h-full rounded-full transition-[width] duration-500 ease-out", statusLook[status].bar, status === "running" && "working-stripe")}
        style={{ width: `${Math.min(100, Math.max(0, shown))}%` }}
      />
    </div>
  );
}
