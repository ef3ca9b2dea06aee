/** Names and limits: each subscription has its own answer, and what has no room now is asked for again. */
import { describe, expect, test } from "vitest";
import { ROOM_TIMER } from "../src/core/effects.js";
import { IDLE } from "../src/core/machine.js";
import { hello, Page, refusal, subscribed } from "./server.js";

const names = (count: number, entity = "runs") => Array.from({ length: count }, (_, n) => `${entity}.${n}`);
const noRoom = (ref: number, channel?: string) => ({ error: { code: "limit_exceeded", message: "at most", channel, ref } });
const NONE: readonly unknown[] = [
  undefined, null, 7, NaN, true, {}, [], ["runs.7"], Symbol("runs.7"), 7n, () => "runs.7", "", " ", "Runs", "runs.", ".7", "runs.7.8",
  "runs.a b", "runs\n", "1runs", "läufe", "runs.\ud800", "r".repeat(49), `runs.${"7".repeat(65)}`, "*", "runs.*", "__proto__",
]; // prettier-ignore

describe("names", () => {
  test.each(NONE.map((name) => [name]))("%o is refused to its own subscription alone", (name) => {
    const page = new Page();
    const good = page.subscribe("run_update");
    const bad = { name: "bad", channel: name as string, at: undefined, ref: IDLE, fresh: false, heard: [] };
    page.do(page.machine.subscribe(bad, page.now));
    page.open().server(hello(), subscribed(1, "c0"));
    expect(page.take("refused")).toMatchObject([[{ name: "bad" }, { name: "RealtimeError", code: "bad_channel" }]]);
    expect([good.fresh, bad.fresh, page.machine.connection().fresh]).toEqual([true, false, true]);
    page.settle("757");
    expect(page.take("send")).toEqual([{ settle: "757" }]);
    page.lose().timer().open().server(hello());
    expect(page.effects.filter(([name]) => name === "refused")).toEqual([]);
    expect(page.take("send")).toEqual([{ subscribe: ["run_update"], since: "c0", ref: 2 }]);
  });

  test.each(["run_update", "a", "a".repeat(48), `runs.${"x".repeat(64)}`, "runs.-_9Z"])("%s is a name", (name) => {
    const page = new Page();
    page.subscribe(name);
    page.open().server(hello());
    expect(page.take("send")).toEqual([{ subscribe: [name], since: undefined, ref: 1 }]);
  });

  test("a name alone, if it is bad, opens no connection, also if nothing else follows", () => {
    const page = new Page();
    page.subscribe("");
    expect(page.effects.map(([name]) => name)).toEqual(["soon", "refused"]);
  });

  test.each([["", "?"], [7, "?"], [{}, "?"], ["a\nb", "?"], ['a"b', "?"], ["\ud800", "?"], ["x".repeat(50_000), "?"], [null, undefined]])(
    "a cursor that the protocol cannot carry (%j) spoils no request of others",
    (since, sent) => {
      const page = new Page();
      page.subscribe("run_update");
      page.subscribe("system", since as string);
      page.open().server(hello());
      expect(page.take("send")).toContainEqual(sent ? { subscribe: ["system"], since: sent, ref: 2 } : { subscribe: ["run_update", "system"], ref: 1 });
    },
  ); // prettier-ignore
});

describe("requests", () => {
  test("a request longer than a message is split, and each part is answered for itself", () => {
    const page = new Page();
    const longest = Array.from({ length: 1000 }, (_, n) => `${"e".repeat(48)}.${String(n).padStart(64, "0")}`);
    const handlers = longest.map((name) => page.subscribe(name, "c"));
    page.open().server(hello());
    const sent = page.take("send") as { subscribe: string[]; ref: number }[];
    expect(sent.flatMap(({ subscribe }) => subscribe)).toEqual(longest);
    for (const frame of sent) expect(JSON.stringify(frame).length).toBeLessThan(16 * 1024);
    for (const { subscribe, ref } of sent) page.server(subscribed(ref, "c1", 0, subscribe));
    expect(handlers.every(({ fresh }) => fresh)).toBe(true);
  });

  test("handlers of one channel share its part", () => {
    const page = new Page();
    for (const name of names(100)) page.subscribe(name);
    for (const name of names(101)) page.subscribe(name);
    page.open().server(hello());
    expect(page.take("send")).toMatchObject([{ subscribe: names(100), ref: 1 }, { subscribe: ["runs.100"], ref: 2 }]);
  });

  test("a server that takes fewer names in one request gets fewer", () => {
    const page = new Page();
    for (const name of names(40)) page.subscribe(name);
    page.open().server(hello());
    page.take();
    page.server(noRoom(1));
    expect(page.effects.filter(([name]) => name === "refused")).toEqual([]);
    expect(page.take("send")).toMatchObject([{ subscribe: names(20) }, { subscribe: names(40).slice(20) }]);
  });

  test("after a server has found the names too many, a few follow each second", () => {
    const page = new Page();
    for (const name of names(300)) page.subscribe(name);
    const asked = () => (page.take("send") as { subscribe: string[] }[]).flatMap(({ subscribe }) => subscribe);
    page.open().server(hello());
    expect(asked()).toHaveLength(300);
    page.lose(4429).timer().open().server(hello());
    expect(asked()).toEqual(names(200));
    page.wait(1000).timer(ROOM_TIMER);
    expect(asked()).toEqual(names(240).slice(200));
    page.wait(1000).timer(ROOM_TIMER).wait(1000).timer(ROOM_TIMER);
    expect(asked()).toEqual(names(300).slice(240));
    expect(page.effects.filter(([name]) => name === "timer")).toEqual([]);
  });

  test("a page of 100 channels that is left for another makes room before that is asked for", () => {
    const page = new Page();
    const handlers = names(100).map((name) => page.subscribe(name));
    page.open().server(hello(), subscribed(1, "c0", 0, names(100)));
    for (const handler of handlers) page.unsubscribe(handler);
    page.take();
    page.subscribe("items.1");
    expect(page.take("send")).toMatchObject([{ unsubscribe: names(100) }, { subscribe: ["items.1"] }]);
  });

  test("channels that are left in one turn share one request", () => {
    const page = new Page();
    const handlers = names(3).map((name) => page.subscribe(name));
    page.open().server(hello(), subscribed(1, "c0", 0, names(3)));
    for (const handler of handlers) page.unsubscribe(handler);
    page.take();
    const effects = names(3).flatMap((name) => page.machine.timer(name, page.now));
    expect(effects.map(([name]) => name)).toEqual(["soon", "soon", "soon"]);
    page.do(page.machine.ask(page.now));
    expect(page.take("send")).toEqual([{ unsubscribe: names(3) }]);
  });
});

describe("room", () => {
  /** Three live channels, where the server allows no more. */
  const full = () => {
    const page = new Page();
    const handlers = names(3).map((name) => page.subscribe(name));
    page.open().server(hello(), subscribed(1, "c0", 0, names(3))).take();
    return { page, handlers };
  };

  test("lingering channels make room for others, which do not notice", () => {
    const { page, handlers } = full();
    for (const handler of handlers) page.unsubscribe(handler);
    for (const name of names(2, "items")) page.subscribe(name, undefined, name);
    page.take();
    page.server(noRoom(2, "items.0"), noRoom(3, "items.1"));
    expect(page.effects.filter(([name]) => name === "refused")).toEqual([]);
    expect(page.take("send")).toEqual([
      { unsubscribe: names(3) },
      { subscribe: ["items.0"], since: undefined, ref: 4 },
      { subscribe: ["items.1"], since: undefined, ref: 5 },
    ]);
    page.server(subscribed(4, "c1", 0, ["items.0"]), subscribed(5, "c1", 0, ["items.1"]));
    expect(page.machine.connection().fresh).toBe(true);
  });

  test("a refusal that was under way while room was made is asked for again", () => {
    const { page, handlers } = full();
    for (const name of names(2, "items")) page.subscribe(name);
    for (const handler of handlers) page.unsubscribe(handler);
    page.server(noRoom(2, "items.0")).take();
    page.server(noRoom(3, "items.1"));
    expect(page.effects.filter(([name]) => name === "refused")).toEqual([]);
    expect(page.take("send")).toEqual([{ subscribe: ["items.1"], since: undefined, ref: 5 }]);
  });

  test("who has no room is notified once, and asked for again as soon as another leaves", () => {
    const { page, handlers } = full();
    const late = page.subscribe("items.0", undefined, "late");
    page.server(noRoom(2, "items.0"));
    expect(page.take("refused")).toMatchObject([[{ name: "late" }, { code: "limit_exceeded" }]]);
    for (const handler of handlers.slice(0, 1)) page.unsubscribe(handler);
    expect(page.take("send")).toEqual([{ unsubscribe: ["runs.0"] }, { subscribe: ["items.0"], since: undefined, ref: 3 }]);
    page.server(noRoom(3, "items.0"));
    expect(page.take("refused")).toEqual([]);
    for (const handler of handlers.slice(1, 2)) page.unsubscribe(handler);
    page.server(subscribed(4, "c1", 0, ["items.0"]));
    expect(late.fresh).toBe(true);
    page.take();
    for (const handler of handlers.slice(2)) page.unsubscribe(handler);
    expect(page.take("send")).toEqual([]); // it lingers, as nobody waits for room any more
  });

  test("who left while it waited for room is not asked for", () => {
    const { page, handlers } = full();
    const late = page.subscribe("items.0");
    page.server(noRoom(2, "items.0")).unsubscribe(late).take();
    for (const handler of handlers) page.unsubscribe(handler);
    expect(page.take("send")).toEqual([]);
  });

  test("the next connection asks for it too, and a second refusal is not reported", () => {
    const { page } = full();
    page.subscribe("items.0");
    page.server(noRoom(2, "items.0")).take();
    page.lose().timer().open().server(hello());
    expect(page.effects.filter(([name]) => name === "send")).toHaveLength(2);
    page.server(noRoom(4, "items.0"));
    expect(page.take("refused")).toEqual([]);
  });

  test("a channel that may not be subscribed is refused at once, also where there is no room", () => {
    const { page, handlers } = full();
    page.subscribe("runz.1", undefined, "bad");
    for (const handler of handlers) page.unsubscribe(handler);
    page.server(refusal(2, "runz.1"));
    expect(page.take("refused")).toMatchObject([[{ name: "bad" }, { code: "forbidden" }]]);
  });
});

describe("transactions", () => {
  /** A server that lets few transactions wait, and settles them in any order. */
  const settleAll = (limit: number, count: number, order: (waiting: string[]) => string | undefined) => {
    const { page } = Page.live();
    const waiting = new Set<string>();
    const done: unknown[] = [];
    for (let xid = 1; xid <= count; xid++) page.settle(String(xid));
    for (let turn = 0; done.length < count && turn < 10_000; turn++) {
      const asked = page.effects.flatMap((e) => (e[0] === "send" && "settle" in e[1] ? [e[1].settle] : []));
      done.push(...page.effects.flatMap((e) => (e[0] === "settled" ? [e[1]] : [])));
      expect(page.effects.filter(([name]) => name === "report")).toEqual([]);
      page.take();
      for (const xid of asked)
        if (waiting.size < limit) waiting.add(xid);
        else page.server({ error: { code: "limit_exceeded", message: "at most" } });
      const next = page.effects.length ? undefined : order([...waiting]);
      if (next !== undefined && waiting.delete(next)) page.server({ settled: next, cursor: `c${turn}` });
    }
    return done.sort((a, b) => Number(a) - Number(b));
  };

  test.each([[1, 50], [2, 50], [10, 100], [31, 100], [64, 300]])(
    "where %i may wait at a time, %i settle all the same, each once, in whatever order",
    (limit, count) => {
      const all = Array.from({ length: count }, (_, n) => String(n + 1));
      expect(settleAll(limit, count, (waiting) => waiting[0])).toEqual(all);
      expect(settleAll(limit, count, (waiting) => waiting.at(-1))).toEqual(all);
      expect(settleAll(limit, count, (waiting) => waiting[waiting.length >> 1])).toEqual(all);
    },
  ); // prettier-ignore

  test("a few are asked at a time, and one request serves all who wait for the same", () => {
    const { page } = Page.live();
    for (let n = 0; n < 200; n++) page.settle(String(n >> 1));
    expect(page.take("send")).toHaveLength(32);
  });

  test("the server's other refusals are reported", () => {
    const { page } = Page.live();
    page.server({ error: { code: "limit_exceeded", message: "at most" } });
    expect(page.take("report")).toMatchObject([{ code: "limit_exceeded" }]);
  });
});
