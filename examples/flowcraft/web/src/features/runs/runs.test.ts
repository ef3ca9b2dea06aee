import { expect, it } from "vitest";
import { aRun } from "@/testing/builders";
import { canCancel, canRetry, countByStatus, expectCancel, expectRetry, filtered, isRunFilter, newestFirst, runLabel } from "./runs";

const first = aRun({ run_id: "run-1", number: 1 });
const second = aRun({ run_id: "run-2", number: 2 });
const third = aRun({ run_id: "run-3", number: 3 });

it("shows the newest first", () => {
  expect([second, first, third].sort(newestFirst)).toEqual([third, second, first]);
});

it("filters and counts by status", () => {
  const failed = aRun({ ...first, status: "failed" });
  expect(filtered([third, second, failed], "failed")).toEqual([failed]);
  expect(countByStatus([third, second, failed])).toEqual({ all: 3, queued: 2, running: 0, succeeded: 0, failed: 1, cancelled: 0 });
});

it("takes a filter from an address only if it is one", () => {
  expect(["failed", "all", "", null, "toString"].map(isRunFilter)).toEqual([true, true, false, false, false]);
});

it("expects a queued run to be cancelled at once and a running one to be asked", () => {
  expect(expectCancel(first)).toEqual(aRun({ ...first, status: "cancelled", cancel_requested: true }));
  const asked = expectCancel(aRun({ status: "running" }));
  expect([asked.status, runLabel(asked), canCancel(asked)]).toEqual(["running", "Cancelling", false]);
});

it("expects a retry to be the same run, queued for another attempt", () => {
  const failed = aRun({ status: "failed", error: "no disk", finished_at: "2026-11-22T20:14:00Z", version: 9 });
  expect(canRetry(failed)).toBe(true);
  expect(expectRetry(failed)).toEqual(aRun({ status: "queued", attempt: 2, version: 9 }));
});
