/** What ends a connection, and what follows: only what cannot heal is final. */
import { describe, expect, test } from "vitest";
import { IDLE_TIMER, RENEW_TIMER } from "../src/core/effects.js";
import { createMachine } from "../src/core/machine.js";
import { hello, Page, subscribed } from "./server.js";

/** A page whose client has a function for tokens, live once. */
const live = () => {
  const page = new Page({ hasTokens: true });
  page.subscribe();
  page.open("old").server(hello(), subscribed(1, "c0")).take();
  return page;
};
const status = (page: Page) => page.machine.connection().status;
const reports = (page: Page) => page.effects.flatMap((effect) => (effect[0] === "report" ? [effect[1]] : []));
const delay = (page: Page) => page.effects.flatMap((effect) => (effect[0] === "timer" && effect[1] === "" ? [effect[2]] : [])).at(-1);

describe("tokens", () => {
  test.each([1, 2, 3, 10, 50])("refused as expired or not yet valid %i times, the next one is used; it is reported once", (times) => {
    const page = live();
    for (let n = 0; n < times; n++) {
      page.lose(4401);
      expect(status(page)).toBe("waiting");
      expect(delay(page)).toBeLessThanOrEqual(15_000);
      page.timer();
      expect(page.effects.filter(([name]) => name === "connect").at(-1)).toEqual(["connect", true]);
      page.open("new").server(hello());
    }
    expect(reports(page).map(({ code }) => code)).toEqual(times > 2 ? ["token_expired"] : []);
    page.server({ authenticated: { expires_in: 60 } }, subscribed(times + 1, "c0"));
    expect(page.machine.connection()).toMatchObject({ status: "open", fresh: true, attempts: 0 });
  });

  test.each([[4500, "invalid token: secret, issuer, …"], [4501, "no token in time"]])(
    "code %i: one renewal, then stop, once, with an error that has the server's reason; reconnect() renews again",
    (code, reason) => {
      const page = live();
      page.server({ error: { code: "invalid_token", message: "the token is not valid" } }).lose(code);
      expect([status(page), reports(page)]).toEqual(["waiting", []]);
      page.timer().open("new").server(hello()).lose(code, reason);
      expect(status(page)).toBe("stopped");
      expect(reports(page)).toMatchObject([{ code: "stopped", message: `closed (${code}): ${reason}; reconnect() starts again` }]);
      page.take();
      page.timer().do(page.machine.wake(page.now));
      expect(page.take("connect")).toEqual([]);
      page.do(page.machine.reconnect(page.now));
      expect(page.take("connect")).toEqual([true]);
      page.open("newest").server(hello(), subscribed(3, "c0"));
      expect(page.machine.connection()).toMatchObject({ status: "open", fresh: true });
    },
  ); // prettier-ignore

  test("a token that worked in between begins a new count", () => {
    const page = live();
    for (let n = 0; n < 5; n++) page.lose(4500).timer().open("new").server(hello(), { authenticated: { expires_in: null } });
    expect([status(page), reports(page)]).toEqual(["open", []]);
  });

  test("a heartbeat before the token is checked does not begin a new count", () => {
    const page = live();
    page.lose(4501).timer().open().server(hello(), { cursor: "c0", n: 0, at: "" }).lose(4501);
    expect(status(page)).toBe("stopped");
  });

  test("without a function for tokens there is nothing to renew", () => {
    for (const code of [4500, 4501]) {
      const { page } = Page.live();
      page.lose(code);
      expect(status(page)).toBe("stopped");
    }
  });

  test("a new one is fetched at 80 % of its time, and again until there is one", () => {
    const page = live();
    page.server({ authenticated: { expires_in: 280 } });
    expect(page.take("timer")).toEqual([[RENEW_TIMER, 224_000]]);
    page.timer(RENEW_TIMER);
    expect(page.effects).toEqual([["renew"], ["timer", RENEW_TIMER, 28_000]]);
    page.take();
    page.do(page.machine.renewed("newer", page.now));
    expect(page.effects).toEqual([["send", { auth: "newer" }]]);
    page.take();
    page.server({ authenticated: { expires_in: 1 } });
    expect(page.take("timer")).toEqual([[RENEW_TIMER, 1_000]]);
  });

  test.each([[null], [undefined], ["280"]])("a server that gives the time %j is not asked", (expires_in) => {
    const page = live();
    page.server({ authenticated: { expires_in } });
    expect(page.take("timer")).toEqual([]);
  });

  test("one that is late replaces nothing on a connection that is gone", () => {
    const page = live();
    page.server({ authenticated: { expires_in: 280 } }).lose().take();
    page.timer(RENEW_TIMER).do(page.machine.renewed("newer", page.now));
    expect(page.effects).toEqual([]);
  });

  test("one that is fetched for 20 s is given up and reported, and the socket has a time of its own", () => {
    const page = new Page({ hasTokens: true });
    page.subscribe();
    expect(page.take("timer")).toEqual([["", 20_000]]);
    page.wait(20_000).timer();
    expect([reports(page)[0]?.code, status(page)]).toEqual(["token_timeout", "waiting"]);
    page.timer().take();
    page.do(page.machine.dialing(page.now));
    expect(page.take("timer")).toEqual([["", 10_000]]);
    page.wait(9_000).open("t");
    expect(page.take("timer")).toEqual([["", 10_000]]);
    page.wait(10_000).timer();
    expect([reports(page), status(page)]).toEqual([[], "waiting"]);
  });
});

describe("a message that is too long (1009)", () => {
  test("is sent in shorter parts, and reported when it cannot be shorter", () => {
    const page = new Page();
    for (let n = 0; n < 30; n++) page.subscribe(`runs.${n}`);
    const asked = () => (page.take("send") as { subscribe: string[] }[]).map(({ subscribe }) => subscribe.length);
    page.open().server(hello());
    expect(asked()).toEqual([30]);
    page.lose(1009).timer().open().server(hello());
    expect(asked()).toEqual([10, 10, 10]);
    page.lose(1009).timer().open().server(hello());
    expect(asked()).toHaveLength(30);
    page.lose(1009);
    expect(reports(page)).toMatchObject([{ code: "stopped", message: "closed (1009); reconnect() starts again" }]);
  });
});

describe("a frame that the client cannot read (4002)", () => {
  const bad = { cursor: 7 };

  test.each([
    ["malformed", [bad], "a malformed message"],
    ["short of an event", [{ cursor: "c1", n: 1, at: "" }], "events are missing"],
  ])("%s: the client resumes each time, and reports it once, at the third in a row", (_, frames, reason) => {
    const { page } = Page.live();
    for (let n = 1; n <= 5; n++) {
      page.server(...frames);
      expect(page.effects.filter(([name]) => name === "close")).toEqual([["close", 4002]]);
      expect(reports(page).map(({ code, message }) => [code, message])).toEqual(
        n === 3 ? [["bad_frame", `3 times in a row closed (4002): ${reason}`]] : [],
      );
      page.take();
      page.timer().open().server(hello(), subscribed(n + 1, "c0"));
    }
    expect(status(page)).toBe("open");
  });

  test("another end in between begins a new count", () => {
    const { page } = Page.live();
    for (let n = 0; n < 6; n++) {
      if (n % 3 === 2) page.lose();
      else page.server(bad);
      page.timer().open().server(hello());
    }
    expect(reports(page)).toEqual([]);
  });
});

describe("reconnect() begins a new attempt in every state", () => {
  const page = () => new Page({ hasTokens: true });
  test.each<[string, (page: Page) => unknown]>([
    ["dormant", () => undefined],
    ["while a token is fetched", (page) => page.subscribe()],
    ["while a socket opens", (page) => (page.subscribe(), page.do(page.machine.dialing(page.now)))],
    ["open without a message", (page) => (page.subscribe(), page.open("t"))],
    ["open", (page) => (page.subscribe(), page.open("t").server(hello()))],
    ["waiting", (page) => (page.subscribe(), page.open("t").lose())],
    ["stopped by the server", (page) => (page.subscribe(), page.open("t").lose(4505))],
    ["stopped because nothing can open", (page) => (page.subscribe(), page.do(page.machine.failed("no address", page.now)))],
    ["closed", (page) => (page.subscribe(), page.do(page.machine.close(page.now)))],
  ])("%s", (_, bring) => {
    const one = page();
    bring(one);
    one.take();
    one.do(one.machine.reconnect(one.now));
    expect(one.effects.slice(0, 1)).toEqual([["close", 1000]]);
    expect(one.take("connect")).toHaveLength(1);
    one.subscribe();
    one.open("t").server(hello());
    expect(status(one)).toBe("open");
  });
});

describe("a connection without handlers", () => {
  const idle = () => createMachine<never, string>(() => 0.5, { linger: 1000, idle: 5_000 });

  test("is closed after a while, and opened again", () => {
    const page = new Page({ idle: 5_000 });
    const handler = page.subscribe();
    page.open().server(hello(), subscribed(1, "c0")).unsubscribe(handler);
    expect(page.take("timer")).toContainEqual([IDLE_TIMER, 5_000]);
    page.timer(IDLE_TIMER);
    expect(page.take("close")).toEqual([1000]);
    expect(page.machine.connection()).toMatchObject({ status: "connecting", fresh: false });
    page.timer().do(page.machine.wake(page.now));
    expect(page.effects).toEqual([]);
    page.subscribe("system");
    expect(page.take("connect")).toEqual([false]);
    page.open().server(hello("c9"));
    expect(page.take("send")).toEqual([{ subscribe: ["system"], since: undefined, ref: 2 }]);
  });

  test("a handler or a transaction keeps it", () => {
    for (const keep of [(page: Page) => page.subscribe(), (page: Page) => page.settle("757")]) {
      const page = new Page({ idle: 5_000 });
      const handler = page.subscribe();
      page.open().server(hello(), subscribed(1, "c0")).unsubscribe(handler);
      keep(page);
      page.take();
      page.timer(IDLE_TIMER);
      expect(page.take("close")).toEqual([]);
    }
  });

  test("it ends when the last transaction has settled, also while it cannot connect", () => {
    const machine = idle();
    machine.settle("757", "ticket", 0);
    machine.opened(undefined, 1);
    machine.received(JSON.stringify(hello()), 2);
    expect(machine.received(JSON.stringify({ settled: "757", cursor: "c" }), 3)).toContainEqual(["timer", IDLE_TIMER, 5_000]);
    machine.closed(1006, 4);
    expect(machine.timer(IDLE_TIMER, 5)).toContainEqual(["close", 1000]);
    expect(machine.timer("", 6)).toEqual([]);
  });
});
