/** Subscriptions: requests, their answers, and the position of each handler. */
import { describe, expect, test } from "vitest";
import { event, hello, Page, point, refusal, reset, subscribed } from "./server.js";

describe("subscriptions", () => {
  test("the first subscription connects; what was subscribed by then shares one request", () => {
    const page = new Page();
    page.subscribe("run_update");
    page.subscribe("system");
    page.subscribe("run_update");
    expect(page.take("connect")).toEqual([false]);
    page.open().server(hello());
    expect(page.take("send")).toEqual([{ subscribe: ["run_update", "system"], since: undefined, ref: 1 }]);
  });

  test("a second handler of a live channel costs no request and hears what comes next", () => {
    const { page, handler } = Page.live();
    const second = page.subscribe();
    expect(page.take("send")).toEqual([]);
    page.server(event(1), point("c1", 1));
    expect([handler.heard, second.heard]).toEqual([[1], [1]]);
  });

  test("also when the channel became live by catching up", () => {
    const page = new Page();
    page.subscribe("run_update", "old");
    page.open().server(hello(), event(1), subscribed(1, "c1", 1));
    page.take();
    const second = page.subscribe();
    expect(page.take("send")).toEqual([]);
    page.server(event(2), point("c2", 1));
    expect(second.heard).toEqual([2]);
  });

  test("an answer without a ref brings what was held back, once and also with the last cursor, to those who are live", () => {
    const { page, handler } = Page.live();
    page.server(event(1), { subscribed: ["run_update"], cursor: "c1", n: 1 });
    expect(handler.heard).toEqual([1]);
    page.server(event(2), { subscribed: ["run_update"], cursor: "c1", n: 1 });
    expect(handler.heard).toEqual([1, 2]);
    expect(page.machine.connection().status).toBe("open");
  });

  test("a second handler shares the request that is under way", () => {
    const page = new Page();
    page.subscribe();
    page.open().server(hello());
    page.take();
    const second = page.subscribe();
    expect(page.take("send")).toEqual([]);
    page.server(subscribed(1, "c0"), event(1), point("c1", 1));
    expect(second.heard).toEqual([1]);
  });

  test("a replay belongs to the handler that asked for it, and does not disturb a live one", () => {
    const { page, handler } = Page.live();
    page.server(event(1), point("c1", 1));
    const late = page.subscribe("run_update", "c0");
    expect(page.take("send")).toEqual([{ subscribe: ["run_update"], since: "c0", ref: 2 }]);
    page.server(event(2), point("c2", 1));
    expect([handler.heard, late.heard]).toEqual([[1, 2], []]);
    page.server(event(1), event(2), subscribed(2, "c2", 2), event(3), point("c3", 1));
    expect([handler.heard, late.heard]).toEqual([[1, 2, 3], [1, 2, 3]]);
  });

  test("a handler without a cursor does not share the request of one that has to catch up", () => {
    const page = new Page();
    page.subscribe("run_update", "old");
    page.open().server(hello());
    page.take();
    const newcomer = page.subscribe();
    expect(page.take("send")).toEqual([{ subscribe: ["run_update"], since: undefined, ref: 2 }]);
    page.server(event(1), subscribed(1, "c0", 1), subscribed(2, "c0"));
    expect(newcomer.heard).toEqual([]);
  });

  test("leaving and coming back within the linger costs nothing", () => {
    const { page, handler } = Page.live();
    page.unsubscribe(handler);
    expect(page.take("timer")).toEqual([["run_update", 1000]]);
    const again = page.subscribe();
    page.timer("run_update");
    expect(page.take("send")).toEqual([]);
    page.server(event(1), point("c1", 1));
    expect([handler.heard, again.heard]).toEqual([[], [1]]);
  });

  test("leaving before the answer and coming back shares that answer", () => {
    const page = new Page();
    const first = page.subscribe();
    page.open().server(hello());
    page.unsubscribe(first).take();
    page.server(subscribed(1, "c0"));
    const again = page.subscribe();
    expect(page.take("send")).toEqual([]);
    page.server(event(1), point("c1", 1));
    expect(again.heard).toEqual([1]);
  });

  test("after the linger the server is told, once, and the next handler asks anew", () => {
    const { page, handler } = Page.live();
    page.unsubscribe(handler).unsubscribe(handler).timer("run_update");
    expect(page.take("send")).toEqual([{ unsubscribe: ["run_update"] }]);
    page.subscribe();
    expect(page.take("send")).toEqual([{ subscribe: ["run_update"], since: undefined, ref: 2 }]);
  });

  test("what nobody hears any more is not resumed", () => {
    const { page, handler } = Page.live();
    page.subscribe("system");
    page.server(subscribed(2, "c0", 0, ["system"])).unsubscribe(handler).lose().take();
    page.timer().open().server(hello());
    expect(page.take("send")).toEqual([{ subscribe: ["system"], since: "c0", ref: 3 }]);
  });

  test("a refused channel is told to its handlers alone, and asked for again with the next connection", () => {
    const page = new Page();
    page.subscribe("run_update", undefined, "good");
    page.subscribe("runz.1", undefined, "bad");
    page.open().server(hello(), refusal(1, "runz.1"), subscribed(1, "c0"));
    expect(page.take("refused")).toMatchObject([[{ name: "bad" }, { code: "forbidden", message: "no", channel: "runz.1" }]]);
    expect(page.machine.connection().fresh).toBe(true);
    page.lose().timer().open().server(hello());
    expect(page.take("send")).toEqual([
      { subscribe: ["run_update"], since: "c0", ref: 2 },
      { subscribe: ["runz.1"], since: undefined, ref: 3 },
    ]);
  });

  test("a refusal that comes after the answer is understood as well", () => {
    const page = new Page();
    page.subscribe("run_update");
    page.subscribe("runz.1", undefined, "bad");
    page.open().server(hello(), subscribed(1, "c0"), refusal(1, "runz.1"));
    expect(page.take("refused")).toMatchObject([[{ name: "bad" }, { code: "forbidden" }]]);
    page.subscribe("runz.1");
    expect(page.take("send")).toEqual([{ subscribe: ["runz.1"], since: undefined, ref: 2 }]);
  });

  test("a request that failed as a whole is told to all its handlers", () => {
    const page = new Page();
    page.subscribe("run_update", undefined, "one");
    page.subscribe("system", undefined, "two");
    page.open().server(hello(), refusal(1));
    expect(page.take("refused")).toMatchObject([[{ name: "one" }, {}], [{ name: "two" }, {}]]);
  });

  test("a channel that is taken away is told to its live handlers", () => {
    const { page } = Page.live();
    page.server(refusal(undefined, "run_update"));
    expect(page.take("refused")).toMatchObject([[{ name: "h" }, { code: "forbidden" }]]);
  });

  test("an error that concerns no subscription is reported", () => {
    const { page } = Page.live();
    page.server(refusal(undefined));
    expect(page.take("report")).toMatchObject([{ code: "forbidden" }]);
  });
});

describe("positions", () => {
  test("a resume asks from the last commit point, and the replay closes the gap", () => {
    const { page, handler } = Page.live();
    page.server(event(1), point("c1", 1)).lose().take();
    page.timer().open().server(hello("c3"));
    expect(page.take("send")).toEqual([{ subscribe: ["run_update"], since: "c1", ref: 2 }]);
    page.server(event(2), event(3), subscribed(2, "c3", 2));
    expect(handler.heard).toEqual([1, 2, 3]);
  });

  test("handlers at different positions resume with one request for each", () => {
    const { page } = Page.live();
    page.subscribe("run_update", "a");
    page.subscribe("system", "a");
    page.server(point("c1", 0)).lose().take();
    page.timer().open().server(hello());
    expect(page.take("send")).toEqual([
      { subscribe: ["run_update"], since: "c1", ref: 4 },
      { subscribe: ["run_update", "system"], since: "a", ref: 5 },
    ]);
  });

  test("a handler that joined a live channel resumes from where it joined", () => {
    const { page, handler } = Page.live();
    page.server(event(1), point("c1", 1));
    page.unsubscribe(handler);
    page.subscribe();
    page.lose().take();
    page.timer().open().server(hello());
    expect(page.take("send")).toEqual([{ subscribe: ["run_update"], since: "c1", ref: 2 }]);
  });

  test("a reset tells the handler, and the channel goes on from the reset's position", () => {
    const page = new Page();
    const handler = page.subscribe("run_update", "old");
    page.open().server(hello(), reset("c5", 1), event(6), point("c6", 1));
    expect(handler.heard).toEqual(["expired", 6]);
    page.lose().take();
    page.timer().open().server(hello());
    expect(page.take("send")).toEqual([{ subscribe: ["run_update"], since: "c6", ref: 2 }]);
  });

  test("an unasked reset concerns the live handlers, not those whose answer is still to come", () => {
    const { page, handler } = Page.live();
    const late = page.subscribe("run_update", "old");
    page.server(reset("c5"));
    expect([handler.heard, late.heard]).toEqual([["expired"], []]);
    page.server(event(5), subscribed(2, "c5", 1));
    expect([handler.heard, late.heard]).toEqual([["expired"], [5]]);
  });

  test("closing forgets every position", () => {
    const { page } = Page.live();
    page.server(point("c1", 0)).do(page.machine.close(page.now));
    expect(page.machine.position()).toBeUndefined();
    expect(page.machine.connection()).toMatchObject({ status: "stopped", fresh: false, code: undefined });
    page.take();
    page.subscribe("system");
    page.open().server(hello("other"));
    expect(page.machine.position()).toBe("other");
    expect(page.take("send")).toEqual([{ subscribe: ["system"], since: undefined, ref: 2 }]);
    page.lose().timer().open().server(hello());
    expect(page.take("send")).toEqual([{ subscribe: ["system"], since: undefined, ref: 3 }]);
  });

  test("after closing there is nothing left to unsubscribe", () => {
    const { page, handler } = Page.live();
    page.do(page.machine.close(page.now)).take();
    expect(page.unsubscribe(handler).effects).toEqual([]);
  });
});
