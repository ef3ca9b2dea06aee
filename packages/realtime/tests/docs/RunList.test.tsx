// @vitest-environment happy-dom
import { RealtimeProvider } from "@flowcraft/realtime/react";
import { createTestRealtime } from "@flowcraft/realtime/testing";
import { act, cleanup, render } from "@testing-library/react";
import { afterEach, expect, test, vi } from "vitest";
import type { Runs } from "./api";
import { RunList } from "./RunList";

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const mount = async (rows: { current: Runs }) => {
  const realtime = createTestRealtime({ act });
  // What the database would answer: the rows, and where the log ends.
  vi.stubGlobal("fetch", () => Promise.resolve(Response.json({ data: rows.current, cursor: realtime.cursor() })));
  const { container } = render(
    <RealtimeProvider client={realtime.client}>
      <RunList />
    </RealtimeProvider>,
  );
  await realtime.settle();
  const runs = () => [...container.querySelectorAll("li")].map((li) => li.textContent);
  return { realtime, container, runs };
};

const queued = { type: "RunUpdate", run_id: "1", status: "queued" } as const;
const failed = { type: "RunUpdate", run_id: "2", status: "failed" } as const;

test("a transaction is shown as a whole", async () => {
  const { realtime, runs } = await mount({ current: [queued] });
  await realtime.commit([
    { channel: "run_update", payload: { ...queued, status: "running" } },
    { channel: "run_update", payload: failed },
  ]);
  expect(runs()).toEqual(["2 failed", "1 running"]);
});

test("what happened while the connection was lost is there after it", async () => {
  const { realtime, container, runs } = await mount({ current: [queued] });
  await realtime.disconnect();
  await realtime.broadcast("run_update", failed);
  expect(container.textContent).toContain("offline");
  await realtime.reconnect();
  expect(container.textContent).toContain("live");
  expect(runs()).toEqual(["2 failed", "1 queued"]);
});

test("after a reset the list is loaded again", async () => {
  const rows: { current: Runs } = { current: [queued] };
  const { realtime, runs } = await mount(rows);
  rows.current = [failed];
  await realtime.reset();
  expect(runs()).toEqual(["2 failed"]);
});

test("who may not watch is told so", async () => {
  const { realtime, container } = await mount({ current: [queued] });
  await realtime.refuse("run_update");
  expect(container.textContent).toBe("no access");
});
