// @vitest-environment happy-dom
import { createTestRealtime, type TestRealtime } from "@flowcraft/realtime/testing";
import { usePresence } from "@flowcraft/realtime/presence";
import { RealtimeProvider } from "@flowcraft/realtime/react";
import * as Tooltip from "@radix-ui/react-tooltip";
import { act, cleanup, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it } from "vitest";
import { channel, type Visitor } from "@/realtime.gen";
import { Watchers } from "./components/watchers";
import { hue, initials, isOwn, visitorToken } from "./visitor";

const RUN = channel.runs("7c9e6679-7425-40de-944b-e07fc1f90ae7");
const visitor = (n: number): Visitor => ({ type: "Visitor", id: `0000000${n}-0000-4000-a000-000000000000`, name: `Keen Wren ${n}` });
let realtime: TestRealtime;

beforeEach(() => (realtime = createTestRealtime({ act: (work) => act(work) })));
afterEach(() => {
  cleanup();
  realtime.close();
  localStorage.clear();
});

const Page = () => <Watchers {...usePresence(RUN)} />;
const show = () =>
  render(
    <RealtimeProvider client={realtime.client}>
      <Tooltip.Provider>
        <Page />
      </Tooltip.Provider>
    </RealtimeProvider>,
  );

it("shows how many there are of those that are too many to be listed", async () => {
  show();
  await realtime.presence(RUN, 501);
  expect(screen.queryAllByTestId("watcher")).toEqual([]);
  expect(screen.getByTestId("watchers").textContent).toBe("501 visitors on this page501");
});

it("shows who is there, and the number of those for whom there is no room", async () => {
  show();
  expect(screen.queryByTestId("watchers")).toBeNull();
  await realtime.presence(RUN, [1, 2].map(visitor));
  expect(realtime.presentOn()).toEqual([RUN]);
  expect(screen.getByTestId("watchers").firstElementChild?.textContent).toBe("2 visitors on this page: Keen Wren 1, Keen Wren 2");
  await realtime.presence(RUN, [1, 2, 3, 4, 5, 6, 7].map(visitor));
  expect(screen.getAllByTestId("watcher")).toHaveLength(5);
  expect(screen.getByTestId("watchers").textContent).toContain("+2");
});

it("gives a browser a name of its own, which it keeps", () => {
  const token = visitorToken();
  expect(token).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12} [A-Z][a-z]+ [A-Z][a-z]+$/);
  expect(visitorToken()).toBe(token);
  expect([isOwn(token.slice(0, 36)), isOwn("0")]).toEqual([true, false]);
  localStorage.setItem("flowcraft.visitor", "<b>");
  expect(visitorToken()).not.toBe("<b>");
});

it("has initials and a colour for each name", () => {
  expect([initials("Keen Wren"), initials("Ada"), hue("ffff")]).toEqual(["KW", "A", 15]);
});
