import type { ReactNode } from "react";
import { classes } from "@/lib/classes";

interface Segment<T extends string> {
  readonly value: T;
  readonly label: ReactNode;
}

/** A choice of one among few. */
export function Segments<T extends string>(props: {
  readonly label: string;
  readonly segments: readonly Segment<T>[];
  readonly value: T;
  readonly onChange: (value: T) => void;
}) {
  return (
    <div role="group" aria-label={props.label} className="inline-flex rounded-lg border bg-subtle p-0.5">
      {props.segments.map(({ value, label }) => (
        <button
          key={value}
          type="button"
          aria-pressed={value === props.value}
          onClick={() => props.onChange(value)}
          className={classes(
            "inline-flex h-7 items-center gap-1.5 rounded-md px-2.5 text-xs font-medium whitespace-nowrap transition-colors",
            value === props.value ? "bg-surface text-text shadow-card ring-1 ring-line" : "text-muted hover:text-text",
          )}
        >
          {label}
        </button>
      ))}
    </div>
  );
}
