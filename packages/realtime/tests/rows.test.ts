/** Subscriptions of rows: a state whole or not at all, errors of a state, and callbacks once for a group. */
import { beforeEach, describe, expect, test, vi } from "vitest";
import { ROWS_TIMER } from "../src/core/effects.js";
import type { RowsState } from "../src/core/frames.js";
import { event, hello, Page, point, subscribed } from "./server.js";
import { clientOn, FakeSocket, settle } from "./socket.js";

const NAME = "task_rows.7";
const page = (items: readonly unknown[], channel = NAME) => ({ rows: channel, key: ["id"], items });
const state = (ref: number, cursor: string, rows: number, n = 0) => ({ ...subscribed(ref, cursor, n, [NAME]), rows });
const task = (id: number, title = "a") => ({ id, title });
const error = (code: string, ref: number, more: object = {}) => ({ error: { code, message: "no", channel: NAME, ref, ...more } });
/** A page with one subscription of rows that was asked for with `ref` 1. */
const asking = () => {
  const one = new Page();
  const handler = one.subscribe(NAME, undefined, true);
  one.open().server(hello());
  one.take();
  return { one, handler, rows: () => handler.heard.map((value) => (value as Partial<RowsState>).rows ?? value) };
};
const requests = (one: Page) => one.take("send");

describe("a state", () => {
  test("is applied with what follows it, when it is complete, in one step", () => {
    const { one, handler } = asking();
    one.server(page([task(1)]), page([task(2)]), { channel: NAME, gone: { id: 1 }, id: 7 });
    expect([handler.heard, handler.fresh]).toEqual([[], false]);
    one.server(state(1, "c1", 2, 1));
    expect(one.take("apply")).toHaveLength(1);
    expect(handler.heard).toEqual([{ rows: [task(1), task(2)], key: ["id"], skipped: 0 }, { id: 1 }]);
    expect([handler.fresh, handler.at]).toEqual([true, "c1"]);
  });

  test.each([
    ["a page is missing", [page([task(1)]), state(1, "c1", 2)]],
    ["a page is repeated", [page([task(1)]), page([task(1)]), state(1, "c1", 1)]],
    ["all are missing", [state(1, "c1", 2)]],
    ["its number is missing", [page([task(1)]), subscribed(1, "c1", 0, [NAME])]],
    ["an event is missing", [page([task(1)]), state(1, "c1", 1, 1)]],
    ["another group comes before it is complete", [page([task(1)]), point("c1", 0)]],
    ["its rows are no list", [{ rows: NAME, key: ["id"], items: {} }]],
    ["its key has no names", [{ rows: NAME, key: "id", items: [] }]],
  ])("nothing of it is applied, and it is asked for again: %s", (_, frames) => {
    const { one, handler } = asking();
    one.server(...frames);
    expect([one.take("close"), handler.heard]).toEqual([[4002], []]);
    one.timer().open().server(hello());
    expect(requests(one)).toEqual([{ subscribe: [NAME], since: undefined, rows: true, ref: 2 }]);
  });

  test("without rows it is an empty list, not nothing", () => {
    const { one, rows } = asking();
    one.server(page([]), state(1, "c1", 0));
    expect(rows()).toEqual([[]]);
  });

  test("is kept through a reset, which no handler receives, until the next one is complete", () => {
    const { one, rows, handler } = asking();
    one.server(page([task(1)]), state(1, "c1", 1)).take();
    one.server({ reset: [NAME], reason: "truncated", cursor: "c2" });
    expect(one.effects.filter(([name]) => name === "reset" || name === "apply")).toEqual([["apply", []]]);
    expect([requests(one), handler.fresh]).toEqual([[{ subscribe: [NAME], since: undefined, rows: true, ref: 2 }], false]);
    one.server(page([task(9)]), state(2, "c3", 1));
    expect(rows()).toEqual([[task(1)], [task(9)]]);
  });

  test("after a lost connection what was missed is asked for, with the rows if that cannot be", () => {
    const { one, rows } = asking();
    one.server(page([task(1)]), state(1, "c1", 1)).lose().timer().open().server(hello());
    expect(requests(one)).toEqual([{ subscribe: [NAME], since: "c1", rows: true, ref: 2 }]);
    one.server({ channel: NAME, payload: task(2), id: 8 }, subscribed(2, "c2", 1, [NAME]));
    expect(rows()).toEqual([[task(1)], task(2)]);
  });

  test("a subscription without rows shares no request with one that has them, and asks for itself", () => {
    const { one } = asking();
    const plain = one.subscribe(NAME);
    expect(requests(one)).toEqual([{ subscribe: [NAME], since: undefined, rows: undefined, ref: 2 }]);
    one.server(page([task(1)]), state(1, "c1", 1), subscribed(2, "c1", 0, [NAME]));
    expect([plain.heard, plain.fresh]).toEqual([[], true]);
  });
});

describe("a state that is refused", () => {
  test("because it cannot be read now: reported once, asked for again with pauses from 1 s to 30 s, and shown again", () => {
    const { one, rows } = asking();
    const pauses = [];
    for (let ref = 1; ref <= 20; ref++) {
      one.server(error("rows_unreadable", ref));
      expect(one.effects.filter(([name]) => name === "refused")).toHaveLength(ref === 1 ? 1 : 0);
      pauses.push(one.effects.flatMap((effect) => (effect[0] === "timer" && effect[1] === ROWS_TIMER ? [effect[2]] : []))[0] ?? 0);
      one.take();
      one.timer(ROWS_TIMER);
      expect(requests(one)).toEqual([{ subscribe: [NAME], since: undefined, rows: true, ref: ref + 1 }]);
    }
    expect([pauses.every((ms) => ms >= 1_000 && ms <= 30_000), pauses[0] ?? 0, pauses.at(-1)]).toEqual([true, 2_125, 14_500]);
    one.server(page([task(1)]), state(21, "c1", 1));
    expect(rows()).toEqual([[task(1)]]);
  });

  test("because it cannot be read now: the pauses grow too while another list is live, whose events come meanwhile", () => {
    const one = new Page();
    one.subscribe("task_rows.8", undefined, true);
    one.open().server(hello(), { rows: "task_rows.8", key: ["id"], items: [] }, { ...subscribed(1, "c1", 0, ["task_rows.8"]), rows: 0 });
    one.subscribe(NAME, undefined, true);
    const pauses = [];
    for (let ref = 2; ref <= 20; ref++) {
      one.server(error("rows_unreadable", ref), event(ref, "task_rows.8", task(1)), point(`c${ref}`, 1));
      pauses.push(one.effects.flatMap((effect) => (effect[0] === "timer" && effect[1] === ROWS_TIMER ? [effect[2]] : []))[0]);
      one.take();
      one.timer(ROWS_TIMER);
    }
    expect([pauses[0], pauses.at(-1)]).toEqual([2_125, 14_500]);
  });

  test("because it is too large: reported, and not asked for again when other channels leave", () => {
    const { one } = asking();
    const other = one.subscribe("system");
    one.server(error("limit_exceeded", 1, { limit: "rows_per_channel" }));
    expect(one.take("refused")).toHaveLength(1);
    one.unsubscribe(other).timer("system");
    expect(requests(one)).toEqual([{ unsubscribe: ["system"] }]);
  });

  test("because the channel has no rows: reported, and never asked for again", () => {
    const { one } = asking();
    one.server(error("bad_request", 1));
    expect(one.take("refused")).toHaveLength(1);
    one.lose().timer().open().server(hello());
    expect(requests(one)).toEqual([]);
  });

  test("the others of the channel, which end with it, ask for what they miss", () => {
    const { one, handler } = asking();
    one.server(page([task(1)]), state(1, "c1", 1));
    const second = one.subscribe(NAME, undefined, true);
    one.take();
    one.server(error("rows_unreadable", 2));
    expect([handler.fresh, second.fresh]).toEqual([false, false]);
    expect(requests(one)).toEqual([{ subscribe: [NAME], since: "c1", rows: true, ref: 3 }]);
  });
});

describe("callbacks", () => {
  beforeEach(() => {
    FakeSocket.opened = [];
  });

  test("a group is announced once after all its handlers, also to several subscriptions with one function", async () => {
    const heard: unknown[] = [];
    const client = clientOn();
    const onGroup = () => heard.push("group");
    for (const name of ["task_rows.1", "task_rows.2"])
      client.subscribe(name, (row) => heard.push([name, row]), { onGroup, onRows: ({ rows }) => heard.push([name, rows]), onGone: (key) => heard.push([name, key]) });
    const gone = vi.fn();
    client.subscribe("system", () => undefined, { onGroup: gone })();
    await settle();
    FakeSocket.last.open();
    const rows = (name: string, items: readonly unknown[]) => [page(items, name), { ...subscribed(1, "c1", 0, [name]), rows: items.length }];
    FakeSocket.last.says(...rows("task_rows.1", [task(1)]), ...rows("task_rows.2", []));
    expect(heard.splice(0)).toEqual([["task_rows.1", [task(1)]], "group", ["task_rows.2", []], "group"]);
    FakeSocket.last.says({ channel: "task_rows.1", gone: { id: 1 }, id: 2 }, { channel: "task_rows.2", payload: task(1), id: 3 });
    expect(heard).toEqual([]);
    FakeSocket.last.says(point("c2", 2));
    expect(heard.splice(0)).toEqual([["task_rows.1", { id: 1 }], ["task_rows.2", task(1)], "group"]);
    FakeSocket.last.says(point("c3", 0));
    expect(heard).toEqual([]);
    expect(gone).not.toHaveBeenCalled();
    client.close();
  });

  test("a row that can no longer be sent is gone, and skipped", async () => {
    const heard: unknown[] = [];
    const client = clientOn();
    client.subscribe(NAME, () => undefined, {
      onRows: () => undefined,
      onGone: (key) => heard.push(key),
      onSkipped: ({ code }) => heard.push(code),
    });
    await settle();
    FakeSocket.last.open().says(page([task(3)]), state(1, "c1", 1));
    FakeSocket.last.says({ channel: NAME, skipped: { reason: "too_large", key: { id: 3 } }, id: 4 }, point("c2", 1));
    expect(heard).toEqual([{ id: 3 }, "too_large"]);
    client.close();
  });
});
