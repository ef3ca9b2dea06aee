// @vitest-environment happy-dom
import { act, cleanup, fireEvent, render, screen, waitFor, within } from "@testing-library/react";
import { StrictMode } from "react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { aFlow, anAnnouncement, aRun, figures } from "@/testing/builders";
import { api } from "@/lib/api";
import { FakeServer } from "@/testing/fake-server";
import { App } from "./app";

// happy-dom has no canvas to draw on.
vi.mock("uplot", () => ({
  default: class {
    static readonly paths = {};
    readonly setData = vi.fn();
    readonly setSize = vi.fn();
    readonly destroy = vi.fn();
  },
}));

let server: FakeServer;

beforeEach(() => {
  server = new FakeServer();
  server.rows.flow_rows = [aFlow()];
  server.rows.run_rows = [aRun({ status: "running", version: 2 })];
  server.rows.dashboard_rows = [figures({ running: 1, succeeded: 1200 })];
  vi.spyOn(api, "audit").mockImplementation(() => Promise.resolve({ data: [{ run_id: "run-1", number: 1, version: 2 }], xid: "757" }));
});

afterEach(() => {
  cleanup();
  server.client.close();
  vi.restoreAllMocks();
  history.replaceState(null, "", "/");
});

function open(address: string) {
  history.replaceState(null, "", address);
  render(
    <StrictMode>
      <App client={server.client} />
    </StrictMode>,
  );
}

it("has a dashboard whose counters follow the channel", async () => {
  open("/");
  await waitFor(() => expect(screen.getByTestId("counter-running").textContent).toBe("1"));
  expect(screen.getByTestId("counter-succeeded").textContent).toBe("1,200");
  act(() => server.commit(["dashboard_rows", figures({ at: "2026-11-22T20:13:01Z", running: 7, succeeded: 1201 })]));
  await waitFor(() => expect(screen.getByTestId("counter-running").textContent).toBe("7"));
});

it("has a badge that says live, and when events are missing that the delivery is to be checked", async () => {
  open("/flows");
  const badge = screen.getByTestId("badge");
  await waitFor(() => expect(badge.textContent).toBe("Live"));
  await waitFor(() => expect(server.settling).toContain("757"));
  await act(() => {
    server.settle("757");
    return Promise.resolve();
  });
  act(() => server.commit(["run_update", aRun({ status: "running", version: 5 })]));
  await waitFor(() => expect(badge.textContent).toBe("Livecheck the delivery"));
  expect(badge.dataset["sound"]).toBe("false");
});

it("shows the run that a flow's button started, and tells how it ended", async () => {
  vi.spyOn(api, "trigger").mockResolvedValue({ run_id: "run-2", xid: "800" });
  open("/flows");
  const card = await screen.findByTestId("flow-card");
  fireEvent.click(within(card).getByTestId("trigger"));
  await waitFor(() => expect(server.settling).toContain("800"));
  act(() => server.commit(["run_rows", aRun({ run_id: "run-2", number: 2 })]));
  act(() => server.settle("800"));
  await waitFor(() => expect(within(card).getByTestId("flow-latest").textContent).toContain("#2 · Queued"));
  const done = aRun({ run_id: "run-2", number: 2, status: "succeeded", finished_at: "2026-11-22T20:14:00Z", version: 2 });
  act(() => server.commit(["run_rows", done], ["run_update", done]));
  expect((await screen.findByTestId("toast")).textContent).toContain("Nightly export #2 succeeded");
});

it("raises a banner for an announcement, and closes it for good", async () => {
  open("/system");
  expect((await screen.findAllByText("Nothing has been announced")).length).toBeGreaterThan(0);
  act(() => server.commit(["announcement_rows", anAnnouncement({ level: "critical", at: new Date().toISOString() })]));
  const banner = await screen.findByTestId("banner");
  expect(banner.textContent).toBe("Maintenance at 22:00.");
  fireEvent.click(within(banner).getByTestId("banner-close"));
  expect(screen.queryByTestId("banner")).toBeNull();
  expect(screen.getAllByTestId("announcement")).toHaveLength(1);
});

it("takes a run that was deleted off the page, and its announcements too", async () => {
  server.rows.announcement_rows = [anAnnouncement()];
  open("/runs");
  expect(await screen.findAllByTestId("run-row")).toHaveLength(1);
  act(() => server.remove("run_rows", { run_id: "run-1" }));
  expect(await screen.findByText("No runs yet")).toBeTruthy();
  act(() => server.remove("announcement_rows", { announcement_id: "news-1" }));
  await waitFor(() => expect(screen.getByTestId("bell").dataset["unread"]).toBe("0"));
});

it("says what went wrong when rows cannot be had, and tries again on demand", async () => {
  const reconnect = vi.spyOn(server.client, "reconnect");
  server.refused.add("run_rows");
  open("/runs");
  const alert = await screen.findByRole("alert");
  expect(alert.textContent).toContain("no more than 10000 rows");
  fireEvent.click(within(alert).getByRole("button"));
  expect(reconnect).toHaveBeenCalledOnce();
});

it("goes to a page by keyboard, and has one for every wrong address", async () => {
  open("/nowhere");
  expect(screen.getByText("There is nothing at this address")).toBeTruthy();
  fireEvent.keyDown(document.body, { key: "g" });
  fireEvent.keyDown(document.body, { key: "f" });
  expect(await screen.findByRole("heading", { name: "Flows" })).toBeTruthy();
  expect(location.pathname).toBe("/flows");
});
