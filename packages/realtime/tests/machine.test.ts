import { describe, expect, test } from "vitest";
import { ephemeral, event, hello, Page, point, refusal, reset, subscribed } from "./server.js";

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

describe("reconnecting", () => {
  test.each([[0, 125], [1, 162.5], [2, 211.25], [4, 357.0125], [12, 1500], [99, 1500]])(
    "after %i failures it waits a random part of 250 ms · 1.3ⁿ, at most 3 s (here the half: %d ms)",
    (failures, ms) => {
      const page = new Page({ random: 0.5 });
      page.subscribe();
      for (let i = 0; i < failures; i++) page.lose().timer();
      page.take();
      expect(page.lose().take("timer")).toEqual([["", expect.closeTo(ms)]]);
    },
  ); // prettier-ignore

  test("a connection that told a position ends the count of failures", () => {
    const page = new Page();
    page.subscribe();
    page.lose().timer().lose().timer().open().server(hello());
    expect(page.machine.connection().attempts).toBe(2);
    page.server(subscribed(1, "c0"));
    expect(page.machine.connection().attempts).toBe(0);
  });

  test("the server's hint comes before the jitter, once", () => {
    const { page } = Page.live();
    page.server({ bye: { reconnect_after_ms: 3200 } }).lose(1012);
    expect(page.take("timer")).toEqual([["", 3325]]);
    page.timer().take();
    expect(page.lose().take("timer")).toEqual([["", 162.5]]);
  });

  test.each([1000, 1001, 1006, 1012, 4002, 4401, 4408, 4409, 4429, 4499])("code %i: reconnect", (code) => {
    const { page } = Page.live();
    page.lose(code);
    expect(page.machine.connection()).toMatchObject({ status: "waiting", fresh: false, code });
  });

  test.each([4500, 4501, 4505, 4999])("code %i: stop, and say so", (code) => {
    const { page } = Page.live();
    page.lose(code);
    expect(page.machine.connection()).toMatchObject({ status: "stopped", code });
    expect(page.effects.filter(([name]) => name === "timer")).toEqual([]);
    expect(page.take("report")).toMatchObject([{ code: "stopped" }]);
  });

  test("an expired token is renewed", () => {
    const { page } = Page.live();
    page.lose(4401).take();
    expect(page.timer().take("connect")).toEqual([true]);
  });

  test("a token that expires again, after it has worked, is renewed again", () => {
    const { page } = Page.live();
    page.lose(4401).timer().open("new").server(hello(), subscribed(2, "c0")).lose(4401);
    expect(page.machine.connection().status).toBe("waiting");
  });

  test("the token is the first frame", () => {
    const page = new Page();
    page.subscribe();
    page.open("jwt").server(hello());
    expect(page.take("send")).toEqual([{ auth: "jwt" }, { subscribe: ["run_update"], since: undefined, ref: 1 }]);
  });

  test("after it stopped nothing connects but reconnect(), which resumes", () => {
    const { page } = Page.live();
    page.lose(4500).take();
    page.subscribe("system");
    page.timer().do(page.machine.wake(page.now));
    expect(page.take("connect")).toEqual([]);
    page.do(page.machine.reconnect(page.now));
    expect(page.take("connect")).toEqual([false]);
    page.open().server(hello());
    expect(page.take("send")).toEqual([
      { subscribe: ["run_update"], since: "c0", ref: 2 },
      { subscribe: ["system"], since: undefined, ref: 3 },
    ]);
  });

  test("a connection that is not greeted in 10 s is given up", () => {
    const page = new Page();
    page.subscribe();
    expect(page.take("timer")).toEqual([["", 10_000]]);
    expect(page.open().wait(10_000).timer().take("close")).toEqual([1000]);
    expect(page.machine.connection().status).toBe("waiting");
  });
});

describe("silence (heartbeat: 10 s)", () => {
  test("after two heartbeats without a position it is not fresh; the next commit point mends that", () => {
    const { page, handler } = Page.live();
    page.wait(20_000).timer();
    expect(page.take("fresh")).toEqual([[handler, false]]);
    expect(page.machine.connection()).toMatchObject({ status: "open", fresh: false });
    page.server(point("c1", 0));
    expect(page.take("fresh")).toEqual([[handler, true]]);
    expect(page.machine.connection().fresh).toBe(true);
  });

  test("events alone do not make it fresh", () => {
    const { page } = Page.live();
    page.wait(20_000).timer().server(ephemeral(1));
    expect(page.machine.connection().fresh).toBe(false);
  });

  test("after two and a half heartbeats without any frame it reconnects", () => {
    const { page } = Page.live();
    page.wait(24_999).timer();
    expect(page.take("close")).toEqual([]);
    page.wait(1).timer();
    expect(page.take("close")).toEqual([1000]);
  });

  test("the watch wakes for the next thing that can happen", () => {
    const { page } = Page.live();
    page.wait(8_000).server(point("c1", 0)).wait(12_000).timer();
    expect(page.take("timer")).toEqual([["", 8_000]]);
    page.wait(8_000).timer();
    expect(page.take("timer")).toEqual([["", 5_000]]);
  });

  test("a wake-up while waiting connects now", () => {
    const { page } = Page.live();
    page.lose().take();
    page.do(page.machine.wake(page.now));
    expect(page.take("connect")).toEqual([false]);
  });

  test("a wake-up while open asks for a sign of life, and reconnects without one within 5 s", () => {
    const { page } = Page.live();
    page.wait(4_000).do(page.machine.wake(page.now));
    expect(page.effects).toEqual([["send", { settle: "0" }], ["timer", "", 5_000]]);
    page.take();
    page.wait(5_000).timer();
    expect(page.take("close")).toEqual([1000]);
  });

  test("a sign of life after a wake-up keeps the connection", () => {
    const { page } = Page.live();
    page.wait(4_000).do(page.machine.wake(page.now)).wait(50).server({ settled: "0", cursor: "c0" });
    page.wait(4_950).timer();
    expect(page.effects.some(([name]) => name === "close" || name === "settled")).toBe(false);
  });
});

describe("freshness", () => {
  test("it is fresh when all that was subscribed before is answered", () => {
    const page = new Page();
    page.subscribe("run_update", "a");
    page.subscribe("system", "b");
    page.open().server(hello(), subscribed(1, "c0"));
    expect(page.machine.connection()).toMatchObject({ status: "open", fresh: false });
    page.server(subscribed(2, "c0", 0, ["system"]));
    expect(page.machine.connection().fresh).toBe(true);
  });

  test("a connection on which nothing is subscribed is fresh when it is greeted", () => {
    const page = new Page();
    page.settle("757").wait(60_000).open().server(hello());
    expect(page.machine.connection()).toMatchObject({ status: "open", fresh: true, since: 60_000 });
  });

  test("a later subscription is not fresh before its answer, and the others stay so", () => {
    const { page } = Page.live();
    const late = page.subscribe("system", "old");
    expect(page.machine.connection().fresh).toBe(true);
    expect(page.take("fresh")).toEqual([]);
    page.server(subscribed(2, "c1", 0, ["system"]));
    expect(page.take("fresh")).toEqual([[late, true]]);
  });

  test("a lost connection makes everything stale, and `since` tells when", () => {
    const { page, handler } = Page.live();
    page.wait(300).lose();
    expect(page.take("fresh")).toEqual([[handler, false]]);
    expect(page.machine.connection()).toEqual({ status: "waiting", fresh: false, since: 300, attempts: 1, code: 1006 });
  });

  test("a commit point changes nothing that is shown, and so is not told", () => {
    const { page } = Page.live();
    const before = page.machine.connection();
    page.server(event(1), point("c1", 1));
    expect(page.take("connection")).toEqual([]);
    expect(page.machine.connection()).toBe(before);
  });
});

describe("settle", () => {
  test("it is answered once the server says so", () => {
    const { page } = Page.live();
    page.settle("757");
    expect(page.take("send")).toEqual([{ settle: "757" }]);
    page.server(event(1), point("c1", 1));
    expect(page.take("settled")).toEqual([]);
    page.server({ settled: "757", cursor: "c1" });
    expect(page.take("settled")).toEqual(["757"]);
    page.server({ settled: "757", cursor: "c1" });
    expect(page.take("settled")).toEqual([]);
  });

  test("it is asked only when every subscription is answered", () => {
    const { page } = Page.live();
    page.subscribe("system", "old");
    page.take();
    page.settle("757");
    expect(page.take("send")).toEqual([]);
    page.server(subscribed(2, "c0", 0, ["system"]));
    expect(page.take("send")).toEqual([{ settle: "757" }]);
  });

  test("what is asked while a subscription catches up is not answered by the answer to an earlier question", () => {
    const { page } = Page.live();
    page.settle("757");
    page.subscribe("system", "old");
    page.settle("757").take();
    page.server({ settled: "757", cursor: "c1" });
    expect(page.effects.filter(([name]) => name === "settled")).toHaveLength(1);
    page.take();
    page.server(subscribed(2, "c1", 0, ["system"]));
    expect(page.take("send")).toEqual([{ settle: "757" }]);
    expect(page.server({ settled: "757", cursor: "c1" }).take("settled")).toEqual(["757"]);
  });

  test("after a reconnect it is asked again, behind the resume", () => {
    const { page } = Page.live();
    page.settle("757").lose().take();
    page.timer().open().server(hello(), subscribed(2, "c0"));
    expect(page.take("send")).toEqual([{ subscribe: ["run_update"], since: "c0", ref: 2 }, { settle: "757" }]);
  });

  test("without any subscription it connects by itself", () => {
    const page = new Page();
    expect(page.settle("757").take("connect")).toEqual([false]);
    expect(page.open().server(hello()).take("send")).toEqual([{ settle: "757" }]);
  });

  test("when the client stops, nobody waits for ever", () => {
    const { page } = Page.live();
    page.settle("757").lose(4500);
    expect(page.take("settled")).toMatchObject([["757", { code: "stopped" }]]);
    page.settle("758");
    expect(page.take("settled")).toMatchObject([["758", { code: "stopped" }]]);
  });
});

describe("the schema", () => {
  test("a server that declares other channels is reported once", () => {
    const page = new Page({ schema: "mine" });
    page.subscribe();
    page.open().server(hello("c0", "theirs")).lose().timer().open().server(hello("c0", "theirs"));
    expect(page.take("report")).toMatchObject([{ code: "schema" }]);
  });

  test("the same schema, or none given, is fine", () => {
    for (const page of [new Page({ schema: "mine" }), new Page()]) {
      page.subscribe();
      page.open().server(hello("c0", "mine"));
      expect(page.take("report")).toEqual([]);
    }
  });
});
