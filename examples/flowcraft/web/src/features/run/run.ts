// One run with its steps and its log: pure functions from state and event to state.
import type { RunDetails } from "@/lib/api";
import type { LogLine, RunUpdate, StepUpdate } from "@/realtime.gen";

export const LINES_KEPT = 5000;

/** The run with one event of its channel applied. */
export function withRunEvent(details: RunDetails, event: RunUpdate | StepUpdate | LogLine): RunDetails {
  switch (event.type) {
    case "RunUpdate":
      return { ...details, run: event };
    case "StepUpdate":
      return { ...details, steps: withStep(details.steps, event) };
    case "LogLine":
      return { ...details, log: [...details.log, event].slice(-LINES_KEPT) };
    default:
      return event satisfies never;
  }
}

function withStep(steps: readonly StepUpdate[], update: StepUpdate): readonly StepUpdate[] {
  const at = steps.findIndex((step) => step.position === update.position);
  if (at >= 0) return steps.with(at, update);
  return [...steps, update].sort((a, b) => a.position - b.position);
}
