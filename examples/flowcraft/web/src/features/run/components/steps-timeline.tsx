import { classes } from "@/lib/classes";
import { capitalized, duration, elapsed } from "@/lib/format";
import { useNow } from "@/lib/now";
import type { StepUpdate } from "@/realtime.gen";
import { Progress } from "@/ui/progress";
import { statusLook, StatusIcon } from "@/ui/status";

export function StepsTimeline({ steps }: { steps: readonly StepUpdate[] }) {
  return (
    <ol className="px-4 py-4 sm:px-5">
      {steps.map((step, index) => (
        <StepItem key={step.position} step={step} last={index === steps.length - 1} />
      ))}
    </ol>
  );
}

function StepItem({ step, last }: { step: StepUpdate; last: boolean }) {
  const now = useNow();
  const span = elapsed(step, now);
  const working = step.status === "running" || step.status === "retrying";
  return (
    <li data-testid="step" data-position={step.position} data-status={step.status} data-version={step.version} className="relative flex gap-3 pb-5 last:pb-0">
      {!last && (
        <span
          aria-hidden
          className={classes(
            "absolute top-6 bottom-0 left-[9.5px] w-px",
            step.status === "succeeded" ? statusLook.succeeded.bar : "bg-line-strong",
            step.status === "succeeded" && "opacity-50",
          )}
        />
      )}
      <span className="mt-px grid size-5 shrink-0 place-items-center">
        <StatusIcon status={step.status} className="size-[18px]" />
      </span>
      <div className="min-w-0 flex-1">
        <p className="flex items-baseline gap-2">
          <span className={classes("truncate font-medium", step.status === "pending" && "text-muted")}>{step.name}</span>
          {step.attempt > 1 && (
            <span data-testid="step-attempt" className="shrink-0 rounded bg-warning/12 px-1.5 text-[11px] font-medium text-warning">
              try {step.attempt} of {step.max_attempts}
            </span>
          )}
          <span className="ml-auto shrink-0 text-[13px] text-muted tabular-nums">{span === null ? "" : duration(span)}</span>
        </p>
        {working ? (
          <div className="mt-2 flex items-center gap-3">
            <Progress value={step.progress} status={step.status} label={`Progress of ${step.name}`} className="flex-1" />
            <span className="w-9 text-right text-xs text-muted tabular-nums">{Math.round(step.progress)}%</span>
          </div>
        ) : (
          <p className="text-xs text-faint">{capitalized(step.status)}</p>
        )}
        {step.error !== null && <p className="mt-1.5 text-xs break-words text-failed">{step.error}</p>}
      </div>
    </li>
  );
}
