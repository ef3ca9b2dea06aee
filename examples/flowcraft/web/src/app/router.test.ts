import { expect, it } from "vitest";
import { paths, routeOf } from "./router";

it("finds the page of an address", () => {
  expect(["/", "/flows", "/runs", "/runs?status=failed", "/runs?status=nonsense", "/runs/a-b", "/system"].map(routeOf)).toEqual([
    { page: "dashboard" },
    { page: "flows" },
    { page: "runs", filter: "all" },
    { page: "runs", filter: "failed" },
    { page: "runs", filter: "all" },
    { page: "run", runId: "a-b" },
    { page: "system" },
  ]);
});

it("finds none for any other", () => {
  expect(["/nothing", "/flows/1", "/runs/1/2"].map((address) => routeOf(address).page)).toEqual(["unknown", "unknown", "unknown"]);
});

it("leads back to the page that a path was made for", () => {
  expect(routeOf(paths.runs("queued"))).toEqual({ page: "runs", filter: "queued" });
  expect(routeOf(paths.run("a"))).toEqual({ page: "run", runId: "a" });
});
