/** Connecting again: when, after what silence, and what is fresh meanwhile. */
import { describe, expect, test } from "vitest";
import { IDLE_TIMER } from "../src/core/effects.js";
import { ephemeral, event, hello, Page, point, subscribed } from "./server.js";

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
    page.do(page.machine.dialing(page.now));
    expect(page.take("timer").at(-1)).toEqual(["", 10_000]);
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

  test.each([
    ["drops", 2_001, [1000]],
    ["keeps", 2_000, []],
  ])("a wake-up %s an attempt that has had no answer for %i ms", (_, ms, closed) => {
    const page = new Page();
    page.subscribe();
    page.do(page.machine.dialing(page.now)).wait(ms).take();
    expect(page.do(page.machine.wake(page.now)).take("close")).toEqual(closed);
    if (closed.length) expect(page.timer().take("connect")).toEqual([false]);
  });

  test.each([
    ["the token is being fetched", (page: Page) => page.subscribe()],
    ["nothing was ever subscribed", () => undefined],
    ["the client rests without subscribers", (page: Page) => {
      const handler = page.subscribe();
      page.open().unsubscribe(handler).timer(IDLE_TIMER);
    }],
    ["the client was closed", (page: Page) => page.do(page.machine.close(page.now))],
  ])("a wake-up while %s changes nothing", (_, before) => {
    const page = new Page({ idle: 1_000 });
    before(page);
    page.wait(60_000).take();
    page.do(page.machine.wake(page.now));
    expect(page.effects).toEqual([]);
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
