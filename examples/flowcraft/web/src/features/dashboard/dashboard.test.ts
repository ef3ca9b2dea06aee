import { describe, expect, it } from "vitest";
import type { RunUpdate } from "@/realtime.gen";
import { aRun } from "@/testing/builders";
import { activityOf } from "./activity";
import { finishesOf, seriesOf } from "./plot";

const second = (at: number) => new Date(at * 1000).toISOString();

function finished(number: number, at: number, status: RunUpdate["status"] = "succeeded", fields: Partial<RunUpdate> = {}): RunUpdate {
  return aRun({ run_id: `run-${number}`, number, status, started_at: second(at - 5), finished_at: second(at), ...fields });
}

describe("the plot", () => {
  const finishes = finishesOf([finished(3, 103, "failed"), aRun({ status: "running" }), finished(2, 101.9), finished(1, 101)]);

  it("counts finished runs per slice and outcome, up to now", () => {
    expect(seriesOf(finishes, { sliceMs: 1000, slices: 4 }, 103_500)).toEqual({
      starts: [100, 101, 102, 103],
      succeeded: [0, 2, 0, 0],
      failed: [0, 0, 0, 1],
      cancelled: [0, 0, 0, 0],
    });
  });

  it("leaves out what is older than the window and shows a server's clock that is ahead as now", () => {
    expect(seriesOf(finishes, { sliceMs: 1000, slices: 2 }, 102_900)).toMatchObject({ succeeded: [2, 0], failed: [0, 1] });
    expect(seriesOf(finishes, { sliceMs: 1000, slices: 1 }, 104_000)).toMatchObject({ succeeded: [0], failed: [0] });
  });
});

describe("recent activity", () => {
  it("begins with what happened last", () => {
    const activity = activityOf([aRun({ number: 9, created_at: second(50) }), finished(2, 101), finished(1, 103)]);
    expect(activity.map(({ run }) => run.number)).toEqual([1, 2, 9]);
  });

  it("brings a run forward when its status changes, and leaves it there when its step moves on", () => {
    const queued = aRun({ created_at: second(10) });
    const other = aRun({ run_id: "run-2", number: 2, created_at: second(20) });
    const started = { ...queued, status: "running", started_at: second(30), current_step: "extract" } as const;
    const order = (runs: readonly RunUpdate[]) => activityOf(runs).map(({ key }) => key);
    expect(order([other, queued])).toEqual(["run-2 1 queued", "run-1 1 queued"]);
    expect(order([other, started])).toEqual(["run-1 1 running", "run-2 1 queued"]);
    expect(order([other, { ...started, current_step: "load" }])).toEqual(order([other, started]));
  });
});
