import { afterEach, expect, it, vi } from "vitest";
import { aRun } from "@/testing/builders";
import { api, ApiError } from "./api";

afterEach(() => vi.unstubAllGlobals());

function answering(body: unknown, status = 200) {
  const fetched = vi.fn(() => Promise.resolve(new Response(JSON.stringify(body), { status })));
  vi.stubGlobal("fetch", fetched);
  return fetched;
}

it("reads state and cursor together", async () => {
  answering({ data: [aRun()], cursor: "752:755:753" });
  expect(await api.runs(10)).toEqual({ data: [aRun()], cursor: "752:755:753" });
});

it("refuses an answer of another shape and names the place", async () => {
  answering({ data: [aRun(), { type: "Surprise" }], cursor: "1" });
  await expect(api.runs()).rejects.toThrow("answer.data[1]: expected RunUpdate");
  answering({ data: [] });
  await expect(api.runs()).rejects.toThrow("answer.cursor: expected a text");
});

it("passes on the service's own sentence", async () => {
  answering({ error: { code: "run_not_cancellable", message: "run 17 has succeeded already" } }, 409);
  await expect(api.cancel("17")).rejects.toEqual(new ApiError("run 17 has succeeded already", "run_not_cancellable", 409));
});

it("says so when the service is away, or answers nonsense", async () => {
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("network")));
  await expect(api.runs()).rejects.toMatchObject({ code: "unreachable" });
  vi.stubGlobal("fetch", () => Promise.resolve(new Response("<html>", { status: 502 })));
  await expect(api.runs()).rejects.toMatchObject({ message: "The service answered 502.", status: 502 });
});

it("does not let an identifier leave its place in the path", async () => {
  const fetched = answering({ xid: "757" });
  await api.cancel("../flows/x");
  expect(fetched).toHaveBeenCalledWith("/api/runs/..%2Fflows%2Fx/cancel", expect.anything());
});
