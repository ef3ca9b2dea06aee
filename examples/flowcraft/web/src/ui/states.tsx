// What a page shows when there is nothing, not yet, or no more.
import { CircleAlert, RotateCw, type LucideIcon } from "lucide-react";
import type { ReactNode } from "react";
import { classes } from "@/lib/classes";
import { explain } from "@/lib/api";
import { Button } from "./button";

export function Skeleton({ className }: { className?: string }) {
  return <div aria-hidden className={classes("animate-pulse rounded-md bg-line/70", className)} />;
}

export function Loading({ children, label }: { children: ReactNode; label: string }) {
  return (
    <div role="status" aria-label={label}>
      {children}
    </div>
  );
}

export function Empty({ icon: Icon, title, children }: { icon: LucideIcon; title: string; children?: ReactNode }) {
  return (
    <div className="flex flex-col items-center px-6 py-14 text-center">
      <span className="mb-4 grid size-11 place-items-center rounded-xl border bg-subtle text-muted">
        <Icon aria-hidden className="size-5" />
      </span>
      <p className="text-sm font-semibold">{title}</p>
      {children !== undefined && <div className="mt-1 max-w-sm text-[13px] text-pretty text-muted">{children}</div>}
    </div>
  );
}

export function Failure({ error, onRetry }: { error: unknown; onRetry: () => void }) {
  return (
    <div role="alert" className="flex flex-col items-center px-6 py-14 text-center">
      <span className="mb-4 grid size-11 place-items-center rounded-xl border border-failed/30 bg-failed/8 text-failed">
        <CircleAlert aria-hidden className="size-5" />
      </span>
      <p className="text-sm font-semibold">This could not be loaded</p>
      <p className="mt-1 mb-4 max-w-sm text-[13px] text-pretty text-muted">{explain(error)}</p>
      <Button size="small" onClick={onRetry}>
        <RotateCw aria-hidden className="size-3.5" /> Try again
      </Button>
    </div>
  );
}
