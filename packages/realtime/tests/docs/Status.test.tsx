// @vitest-environment happy-dom
import { RealtimeProvider } from "@flowcraft/realtime/react";
import { createTestRealtime } from "@flowcraft/realtime/testing";
import { act, cleanup, render } from "@testing-library/react";
import { afterEach, expect, test } from "vitest";
import { Status } from "./Status";

afterEach(cleanup);

test("a run that fails is shown", async () => {
  const realtime = createTestRealtime({ act });
  const { container, unmount } = render(
    <RealtimeProvider client={realtime.client}>
      <Status />
    </RealtimeProvider>,
  );
  await realtime.broadcast("run_update", { type: "RunUpdate", run_id: "42", status: "failed" });
  expect(container.textContent).toBe("failed");

  unmount();
  expect(realtime.subscriptions()).toEqual([]);
});
