import { afterEach, expect, it, vi } from "vitest";
import { aLine, aRun } from "@/testing/builders";
import { api, ApiError } from "./api";

afterEach(() => vi.unstubAllGlobals());

function answering(body: unknown, status = 200) {
  const fetched = vi.fn(() => Promise.resolve(new Response(JSON.stringify(body), { status })));
  vi.stubGlobal("fetch", fetched);
  return fetched;
}

it("reads state and cursor together", async () => {
  answering({ data: { run: aRun(), log: [aLine()] }, cursor: "752:755:753" });
  expect(await api.run("run-1")).toEqual({ data: { run: aRun(), log: [aLine()] }, cursor: "752:755:753" });
});

it("refuses an answer of another shape and names the place", async () => {
  answering({ data: { run: aRun(), log: [aLine(), { type: "Surprise" }] }, cursor: "1" });
  await expect(api.run("run-1")).rejects.toThrow("answer.data.log[1]: expected LogLine");
  answering({ data: { run: aRun(), log: [] } });
  await expect(api.run("run-1")).rejects.toThrow("answer.cursor: expected a text");
});

it("passes on the service's own sentence", async () => {
  answering({ error: { code: "run_not_cancellable", message: "run 17 has succeeded already" } }, 409);
  await expect(api.cancel("17")).rejects.toEqual(new ApiError("run 17 has succeeded already", "run_not_cancellable", 409));
});

it("says so when the service is away, or answers nonsense", async () => {
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("network")));
  await expect(api.audit()).rejects.toMatchObject({ code: "unreachable" });
  vi.stubGlobal("fetch", () => Promise.resolve(new Response("<html>", { status: 502 })));
  await expect(api.audit()).rejects.toMatchObject({ message: "The service answered 502.", status: 502 });
});

it("does not let an identifier leave its place in the path", async () => {
  const fetched = answering({ xid: "757" });
  await api.cancel("../flows/x");
  expect(fetched).toHaveBeenCalledWith("/api/runs/..%2Fflows%2Fx/cancel", expect.anything());
});
