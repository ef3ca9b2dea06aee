import { expect, it } from "vitest";
import { aFlow, aRun } from "@/testing/builders";
import { byName, latestRuns, recentRuns } from "./flows";

it("sorts flows by name", () => {
  const [a, b] = [aFlow({ flow_id: "a", name: "Audit" }), aFlow({ flow_id: "b", name: "Backup" })];
  expect([b, a].sort(byName)).toEqual([a, b]);
});

it("finds the newest runs of a flow", () => {
  const runs = [4, 3, 2, 1].map((number) => aRun({ run_id: `run-${number}`, number, flow_id: number % 2 === 0 ? "even" : "odd" }));
  expect(latestRuns(runs).get("odd")?.number).toBe(3);
  expect(recentRuns(runs, "even", 5).map(({ number }) => number)).toEqual([2, 4]);
  expect(recentRuns(runs, "even", 1).map(({ number }) => number)).toEqual([4]);
});
