// Small builders that keep a test's story on screen.
import type { Announcement, DashboardUpdate, FlowUpdate, LogLine, RunUpdate, StepUpdate } from "@/realtime.gen";

const at = "2026-11-22T20:13:00Z";

export function aRun(fields: Partial<RunUpdate> = {}): RunUpdate {
  return {
    type: "RunUpdate",
    run_id: "run-1",
    number: 1,
    flow_id: "nightly-export",
    flow_name: "Nightly export",
    status: "queued",
    progress: 0,
    attempt: 1,
    current_step: null,
    cancel_requested: false,
    triggered_by: "person",
    error: null,
    created_at: at,
    started_at: null,
    finished_at: null,
    retry_at: null,
    version: 1,
    ...fields,
  };
}

export function aStep(fields: Partial<StepUpdate> = {}): StepUpdate {
  return {
    type: "StepUpdate",
    run_id: "run-1",
    position: 1,
    name: "extract",
    status: "pending",
    progress: 0,
    attempt: 1,
    max_attempts: 3,
    error: null,
    started_at: null,
    finished_at: null,
    version: 1,
    ...fields,
  };
}

export function aLine(fields: Partial<LogLine> = {}): LogLine {
  return { type: "LogLine", run_id: "run-1", number: 1, at, level: "info", position: 1, text: "reading rows", ...fields };
}

export function aFlow(fields: Partial<FlowUpdate> = {}): FlowUpdate {
  return {
    type: "FlowUpdate",
    flow_id: "nightly-export",
    name: "Nightly export",
    description: "Copies the day's orders to the warehouse.",
    steps: ["extract", "transform", "load"],
    paused: false,
    ...fields,
  };
}

export function figures(fields: Partial<DashboardUpdate> = {}): DashboardUpdate {
  return {
    type: "DashboardUpdate",
    at,
    queued: 0,
    running: 0,
    succeeded: 0,
    failed: 0,
    cancelled: 0,
    runs_per_minute: 0,
    success_rate: null,
    mean_seconds: null,
    ...fields,
  };
}

export function anAnnouncement(fields: Partial<Announcement> = {}): Announcement {
  return { type: "Announcement", announcement_id: "news-1", text: "Maintenance at 22:00.", level: "info", at, ...fields };
}
