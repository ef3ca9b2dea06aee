import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { aLine, aRun, aStep } from "@/testing/builders";
import { FakeServer } from "@/testing/fake-server";
import { createAuditor, type Auditor } from "./auditor";

let server: FakeServer;
let auditor: Auditor;
let stop: () => void;
let truth: { run_id: string; number: number; version: number }[];

beforeEach(async () => {
  vi.useFakeTimers();
  truth = [{ run_id: "a", number: 1, version: 3 }];
  server = new FakeServer();
  auditor = createAuditor(server.client, () => Promise.resolve({ data: [...truth], xid: "757" }));
  stop = auditor.start();
  await vi.advanceTimersByTimeAsync(0);
});

afterEach(() => {
  stop();
  server.client.close();
  vi.useRealTimers();
});

const counts = () => {
  const { lost, doubled, outOfOrder } = auditor.verdict();
  return { lost, doubled, outOfOrder };
};

it("compares only when everything up to the database's answer has been delivered", async () => {
  expect(server.settling).toEqual(["757"]);
  expect(auditor.verdict().compared).toBeNull();
  server.settle("757");
  await vi.advanceTimersByTimeAsync(300);
  expect(auditor.get()).toMatchObject({ compared: 1, sources: 1, lost: 0 });
});

it("finds what the stream left out, said twice, or said late", async () => {
  server.settle("757");
  await vi.advanceTimersByTimeAsync(0);
  server.commit(["run_update", aRun({ run_id: "a", version: 4 })]);
  server.commit(["run_update", aRun({ run_id: "a", version: 6 })]);
  server.commit(["run_update", aRun({ run_id: "a", version: 6 })]);
  expect(counts()).toEqual({ lost: 1, doubled: 1, outOfOrder: 0 });
  server.commit(["run_update", aRun({ run_id: "a", version: 5 })]);
  expect(counts()).toEqual({ lost: 0, doubled: 1, outOfOrder: 1 });
});

it("finds a last change that never came when it next asks the database", async () => {
  server.settle("757");
  await vi.advanceTimersByTimeAsync(0);
  truth = [{ run_id: "a", number: 1, version: 4 }];
  await vi.advanceTimersByTimeAsync(10_000);
  expect(counts()).toEqual({ lost: 0, doubled: 0, outOfOrder: 0 });
  server.settle("757");
  await vi.advanceTimersByTimeAsync(0);
  expect(counts()).toEqual({ lost: 1, doubled: 0, outOfOrder: 0 });
});

it("follows a run's own channel while its page is open", async () => {
  server.rows["step_rows.a"] = [aStep({ run_id: "a", version: 3 })];
  const leave = auditor.follow("a");
  await vi.advanceTimersByTimeAsync(0);
  server.commit(["step_rows.a", aStep({ run_id: "a", version: 4 })], ["runs.a", aLine({ run_id: "a", number: 5 })]);
  server.commit(["runs.a", aLine({ run_id: "a", number: 7 })]);
  expect(counts()).toEqual({ lost: 1, doubled: 0, outOfOrder: 0 });
  server.commit(["step_rows.a", aStep({ run_id: "a", version: 6 })]);
  expect(counts()).toEqual({ lost: 2, doubled: 0, outOfOrder: 0 });
  leave();
  server.commit(["runs.a", aLine({ run_id: "a", number: 99 })]);
  expect(counts()).toEqual({ lost: 2, doubled: 0, outOfOrder: 0 });
});

it("does not hold against the stream what a reset has said openly", async () => {
  server.settle("757");
  await vi.advanceTimersByTimeAsync(0);
  server.reset("run_update");
  server.commit(["run_update", aRun({ run_id: "a", version: 2 })]);
  expect(counts()).toEqual({ lost: 0, doubled: 0, outOfOrder: 0 });
  expect(auditor.verdict().restarts).toBe(1);
});
