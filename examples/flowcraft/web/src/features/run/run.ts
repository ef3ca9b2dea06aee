// One run with its log: a pure function from state and event to state.
import type { RunDetails } from "@/lib/api";
import type { LogLine, RunUpdate } from "@/realtime.gen";

export const LINES_KEPT = 5000;

/** The run with one event of its channel applied. */
export function withRunEvent(details: RunDetails, event: RunUpdate | LogLine): RunDetails {
  switch (event.type) {
    case "RunUpdate":
      return { ...details, run: event };
    case "LogLine":
      return { ...details, log: [...details.log, event].slice(-LINES_KEPT) };
    default:
      return event satisfies never;
  }
}
