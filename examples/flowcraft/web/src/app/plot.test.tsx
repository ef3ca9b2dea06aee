// @vitest-environment happy-dom
import { cleanup, render, screen, waitFor } from "@testing-library/react";
import { StrictMode } from "react";
import { afterEach, expect, it, vi } from "vitest";
import { aRun, figures } from "@/testing/builders";
import { api } from "@/lib/api";
import { FakeServer } from "@/testing/fake-server";
import { App } from "./app";

// As in WebKitGTK under LANG=C, where `navigator.language` is no language.
vi.mock("uplot", () => {
  throw new RangeError("invalid language tag: c");
});

let server: FakeServer;

afterEach(() => {
  cleanup();
  server.client.close();
  vi.restoreAllMocks();
});

it("shows the rest of the dashboard where the plot cannot be loaded", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined); // React reports what the boundary has caught
  server = new FakeServer();
  server.rows.run_rows = [aRun({ status: "running", version: 2 })];
  server.rows.dashboard_rows = [figures({ running: 1, succeeded: 1200 })];
  vi.spyOn(api, "audit").mockImplementation(() => Promise.resolve({ data: [], xid: "757" }));
  history.replaceState(null, "", "/");
  render(
    <StrictMode>
      <App client={server.client} />
    </StrictMode>,
  );
  expect(await screen.findByText("This could not be loaded", {}, { timeout: 20_000 })).toBeTruthy();
  await waitFor(() => expect(screen.getByTestId("counter-succeeded").textContent).toBe("1,200"), { timeout: 20_000 });
});
