/** Groups: events and the frame that closes them, whole or not at all. */
import { describe, expect, test } from "vitest";
import { ephemeral, event, hello, Page, point, reset, subscribed } from "./server.js";

describe("groups", () => {
  test("events wait for their commit point and are then applied together, in order", () => {
    const { page, handler } = Page.live();
    page.server(event(2), event(1));
    expect(handler.heard).toEqual([]);
    page.server(point("c1", 2));
    expect(handler.heard).toEqual([2, 1]);
    expect(page.take("apply")).toHaveLength(1);
  });

  test("a group that holds another number of events than it says is discarded, and the client resumes from before it", () => {
    const { page, handler } = Page.live();
    page.server(event(1), point("c1", 1), event(2), point("c2", 2));
    expect(handler.heard).toEqual([1]);
    expect(page.take("close")).toEqual([4002]);
    page.timer().open().server(hello("c2"));
    expect(page.take("send")).toEqual([{ subscribe: ["run_update"], since: "c1", ref: 2 }]);
  });

  test("a heartbeat that says how many events were sent ends a connection that received another number", () => {
    const { page, handler } = Page.live();
    page.server(event(1), ephemeral("typing"), point("c1", 1), { ...point("c1", 0), sent: 1 });
    expect(page.take("close")).toEqual([]);
    page.server({ ...point("c3", 0), sent: 2 });
    expect(page.take("close")).toEqual([4002]);
    page.timer().open().server(hello("c3"));
    expect(page.take("send")).toEqual([{ subscribe: ["run_update"], since: "c1", ref: 2 }]);
    page.server(event(2), subscribed(2, "c3", 1), { ...point("c3", 0), sent: 1 });
    expect([handler.heard, page.take("close")]).toEqual([["typing", 1, 2], []]);
  });

  test("a group that is missed only after a later one was applied cannot be told in order: a reset", () => {
    const { page, handler } = Page.live();
    page.server(event(2), point("c2", 1), { ...point("c2", 0), sent: 2 });
    expect([handler.heard, page.take("close")]).toEqual([[2, "lost"], [4002]]);
    page.timer().open().server(hello("c2"), subscribed(2, "c2"), event(4), { ...point("c4", 1), sent: 2 });
    expect([handler.heard, page.take("close")]).toEqual([[2, "lost"], [4002]]);
    page.timer().open().server(hello("c4"));
    expect(page.take("send")).toEqual([{ subscribe: ["run_update"], since: "c2", ref: 3 }]);
  });

  test("a group whose own events are missing is asked for again from before it: the groups before it are known to be whole", () => {
    const { page, handler } = Page.live();
    page.server(event(1), point("c1", 1), event(3), { ...point("c3", 2), sent: 3 });
    expect([handler.heard, page.take("close")]).toEqual([[1], [4002]]);
    page.timer().open().server(hello("c3"));
    expect(page.take("send")).toEqual([{ subscribe: ["run_update"], since: "c1", ref: 2 }]);
  });

  test("an event frame of a later version counts and is not delivered", () => {
    const { page, handler } = Page.live();
    page.server({ channel: "run_update", moved: { id: 1 }, id: 1 }, event(2), { ...point("c2", 2), sent: 2 });
    expect([handler.heard, page.take("close")]).toEqual([[2], []]);
  });

  test("one event that was skipped for two channels is delivered on both", () => {
    const page = new Page();
    const [seven, eight] = ["runs.7", "runs.8"].map((channel) => page.subscribe(channel));
    page.open().server(hello("c0"), { subscribed: ["runs.7", "runs.8"], cursor: "c0", n: 0, ref: 1 });
    const skipped = { skipped: { reason: "too_large" }, id: 1 };
    page.server({ channel: "runs.7", ...skipped }, { channel: "runs.8", ...skipped }, point("c1", 2));
    expect([seven?.heard, eight?.heard]).toEqual([["too_large"], ["too_large"]]);
  });

  test("a group that is told twice is applied once, and ends the connection", () => {
    const { page, handler } = Page.live();
    page.server(event(1), point("c1", 1), event(1), point("c1", 1));
    expect([handler.heard, page.take("close")]).toEqual([[1], [4002]]);
    page.timer().open().server(hello("c1"));
    expect(page.take("send")).toEqual([{ subscribe: ["run_update"], since: "c1", ref: 2 }]);
  });

  test("a replay that is told twice is applied once", () => {
    const page = new Page();
    const handler = page.subscribe("run_update", "c0");
    page.open().server(hello("c1"), event(1), subscribed(1, "c1", 1), event(1), subscribed(1, "c1", 1));
    expect([handler.heard, page.take("close")]).toEqual([[1], []]);
    page.server({ ...point("c1", 0), sent: 1 });
    expect(page.take("close")).toEqual([4002]);
  });

  test("a malformed frame ends the connection", () => {
    const { page } = Page.live();
    page.server({ cursor: 1 });
    expect(page.take("close")).toEqual([4002]);
    expect(page.machine.connection().status).toBe("waiting");
  });

  test("an event that is told twice in a group is applied once", () => {
    const { page, handler } = Page.live();
    page.server(event(1), event(2), event(1), point("c1", 3));
    expect(handler.heard).toEqual([1, 2]);
  });

  test("an ephemeral event is applied at once, also within an open group, and is not counted", () => {
    const { page, handler } = Page.live();
    page.server(event(1), ephemeral("typing"), point("c1", 1));
    expect(handler.heard).toEqual(["typing", 1]);
  });

  test("the events of a channel share one list of its subscribers, in the order of the events, whatever their channel", () => {
    const page = new Page();
    const [one, two, other] = ["run_update", "run_update", "system"].map((channel) => page.subscribe(channel));
    page.open().server(hello("c0"), { subscribed: ["run_update", "system"], cursor: "c0", n: 0, ref: 1 });
    page.take();
    page.server(event(1), { channel: "system", payload: 2, id: 2 }, event(3), event(1), point("c3", 4));
    const [deliveries] = page.effects.flatMap((effect) => (effect[0] === "apply" ? [effect[1]] : []));
    expect(deliveries?.map(([[, value], to]) => [value, to])).toEqual([[1, [one, two]], [2, [other]], [3, [one, two]]]);
    expect(deliveries?.[0]?.[1]).toBe(deliveries?.[2]?.[1]);
  });

  test("a reset closes an empty group: events before it are a violation", () => {
    const { page } = Page.live();
    page.server(event(1), reset("c1"));
    expect(page.take("close")).toEqual([4002]);
  });

  test("an open group is forgotten with its connection", () => {
    const { page, handler } = Page.live();
    page.server(event(1)).lose().timer().open().server(hello("c1"), event(1), subscribed(2, "c1", 1));
    expect(handler.heard).toEqual([1]);
  });

  test("frames of a later version change nothing", () => {
    const { page, handler } = Page.live();
    page.server({ weather: "fine" }, event(1), { weather: "rain" }, point("c1", 1));
    expect(handler.heard).toEqual([1]);
  });
});
