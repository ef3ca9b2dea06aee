import type { ComponentProps, ReactNode } from "react";
import { classes } from "@/lib/classes";

export function Card({ className, ...rest }: ComponentProps<"section">) {
  return <section {...rest} className={classes("rounded-xl border bg-surface shadow-card", className)} />;
}

export function CardHeader({ title, hint, children }: { title: ReactNode; hint?: ReactNode; children?: ReactNode }) {
  return (
    <header className="flex min-h-14 items-center gap-3 border-b px-4 py-2 sm:px-5">
      <h2 className="shrink-0 text-sm font-semibold tracking-tight">{title}</h2>
      {hint !== undefined && <p className={classes("truncate text-[13px] text-faint", children !== undefined && "hidden sm:block")}>{hint}</p>}
      <div className="ml-auto flex shrink-0 items-center gap-2">{children}</div>
    </header>
  );
}
