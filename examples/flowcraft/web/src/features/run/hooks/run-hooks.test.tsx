// @vitest-environment happy-dom
import { RealtimeProvider } from "@flowcraft/realtime/react";
import { act, cleanup, renderHook, waitFor } from "@testing-library/react";
import { StrictMode, type ReactNode } from "react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { api, ApiError, type Written } from "@/lib/api";
import { ToastProvider } from "@/app/toasts";
import { aLine, aRun, aStep } from "@/testing/builders";
import { FakeServer } from "@/testing/fake-server";
import { useRun } from "./use-run";
import { useRunActions } from "./use-run-actions";

let server: FakeServer;

beforeEach(() => {
  server = new FakeServer();
});

afterEach(() => {
  cleanup();
  server.client.close();
  vi.restoreAllMocks();
});

function Page({ children }: { children: ReactNode }) {
  return (
    <StrictMode>
      <RealtimeProvider client={server.client}>
        <ToastProvider>{children}</ToastProvider>
      </RealtimeProvider>
    </StrictMode>
  );
}

/** A promise that the test decides about. */
function decided<T>() {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

it("shows a run as it was loaded, and a whole transaction at once", async () => {
  const details = { run: aRun({ status: "running", version: 2 }), log: [] };
  server.rows["step_rows.run-1"] = [aStep()];
  vi.spyOn(api, "run").mockImplementation(() => Promise.resolve({ data: details, cursor: server.cursor }));
  const seen: string[] = [];
  const { result } = renderHook(
    () => {
      const state = useRun("run-1");
      seen.push(`${state.data?.run.status} ${state.data?.steps[0]?.status} ${state.data?.log.length}`);
      return state;
    },
    { wrapper: Page },
  );
  await waitFor(() => expect(result.current).toMatchObject({ data: { ...details, steps: [aStep()] }, fresh: true }));

  act(() =>
    server.commit(
      ["step_rows.run-1", aStep({ status: "succeeded", version: 2 })],
      ["runs.run-1", aLine()],
      ["runs.run-1", aRun({ status: "succeeded", version: 3 })],
    ),
  );
  await waitFor(() => expect(result.current.data?.run.status).toBe("succeeded"));
  expect(new Set(seen)).toEqual(new Set(["undefined undefined undefined", "running pending 0", "succeeded succeeded 1"]));
});

it("shows a retry at once and keeps it in view until its transaction is here", async () => {
  const failed = aRun({ status: "failed", error: "no disk", version: 5 });
  const answer = decided<Written>();
  vi.spyOn(api, "retry").mockReturnValue(answer.promise);
  const { result, rerender } = renderHook(({ run }) => useRunActions(run), { wrapper: Page, initialProps: { run: failed } });

  act(() => result.current.retry());
  expect(result.current).toMatchObject({ pending: true, run: { status: "queued", attempt: 2, error: null } });

  await act(() => {
    answer.resolve({ xid: "757" });
    return Promise.resolve();
  });
  await waitFor(() => expect(server.settling).toEqual(["757"]));
  expect(result.current).toMatchObject({ pending: true, run: { status: "queued", attempt: 2 } });

  rerender({ run: aRun({ status: "queued", attempt: 2, version: 6 }) });
  act(() => server.settle("757"));
  await waitFor(() => expect(result.current.pending).toBe(false));
  expect(result.current.run).toEqual(aRun({ status: "queued", attempt: 2, version: 6 }));
});

it("rolls a cancel back when it is refused, and says why", async () => {
  const running = aRun({ status: "running", version: 2 });
  const answer = decided<Written>();
  vi.spyOn(api, "cancel").mockReturnValue(answer.promise);
  const { result } = renderHook(() => useRunActions(running), { wrapper: Page });

  act(() => result.current.cancel());
  expect(result.current).toMatchObject({ pending: true, run: { cancel_requested: true } });

  const refusal = new ApiError("run 1 has succeeded already; there is nothing to cancel", "run_not_cancellable", 409);
  await act(() => {
    answer.reject(refusal);
    return Promise.resolve();
  });
  await waitFor(() => expect(result.current.pending).toBe(false));
  expect(result.current.run).toEqual(running);
  expect(document.body.textContent).toContain("run 1 has succeeded already; there is nothing to cancel");
});

it("lets the stream move on beneath an expectation", () => {
  const running = aRun({ status: "running", progress: 10, version: 2 });
  vi.spyOn(api, "cancel").mockReturnValue(new Promise(() => undefined));
  const { result, rerender } = renderHook(({ run }) => useRunActions(run), { wrapper: Page, initialProps: { run: running } });

  act(() => result.current.cancel());
  rerender({ run: { ...running, progress: 40, version: 3 } });
  expect(result.current.run).toMatchObject({ progress: 40, version: 3, cancel_requested: true });
});
