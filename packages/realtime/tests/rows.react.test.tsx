// @vitest-environment happy-dom
import { act, cleanup, configure, render } from "@testing-library/react";
import { memo, type ReactNode } from "react";
import { hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { RealtimeProvider } from "../src/react.js";
import { type RowsOptions, useRows } from "../src/rows.js";
import { rowsStore } from "../src/store.js";
import { createTestRealtime, type TestRealtime } from "../src/testing.js";

type Task = { readonly id: number; readonly title: string; readonly done: boolean };
const LIST = "task_rows.7";
const task = (id: number, title = `t${id}`, done = false): Task => ({ id, title, done });

let realtime: TestRealtime;
let renders: Map<string, number>;
const count = (name: string) => renders.set(name, (renders.get(name) ?? 0) + 1);

configure({ reactStrictMode: false });
beforeEach(() => {
  renders = new Map();
  realtime = createTestRealtime({ act: (work) => act(work) });
});
afterEach(() => {
  cleanup();
  realtime.close();
});

const Item = memo(function Item({ row }: { readonly row: Task }) {
  count(`row ${row.id}`);
  return <li>{row.title}</li>;
});

function List({ name = LIST, ...options }: { readonly name?: string | null } & RowsOptions<string>) {
  const { rows, fresh, error, loading } = useRows(name, options);
  count("list");
  return (
    <section>
      {rows && <ul>{(rows as readonly Task[]).map((row) => <Item key={row.id} row={row} />)}</ul>}
      <p>{`${loading ? "loading " : ""}${fresh ? "fresh " : ""}${error instanceof Error ? error.message : ""}`}</p>
    </section>
  );
}
const within = (children: ReactNode) => <RealtimeProvider client={realtime.client}>{children}</RealtimeProvider>;
const mount = (children: ReactNode) => {
  const { container, rerender, unmount } = render(within(children));
  return { text: () => container.textContent, show: (next: ReactNode) => rerender(within(next)), unmount };
};

describe("useRows", () => {
  test("has nothing, then all rows by their key, then what changes", async () => {
    await realtime.rows(LIST, [task(2), task(10), task(1)]);
    const { text } = mount(<List />);
    expect(text()).toBe("loading ");
    await realtime.settle();
    expect(text()).toBe("t1t2t10fresh ");
    await realtime.broadcast(LIST, task(2, "two"));
    await realtime.broadcast(LIST, task(3));
    await realtime.gone(LIST, { id: 1 });
    expect(text()).toBe("twot3t10fresh ");
  });

  test("a list without rows is empty, not loading", async () => {
    const { text } = mount(<List />);
    await realtime.settle();
    expect(text()).toBe("fresh ");
  });

  test("a row renders again when it has changed, and not for others, for a reset or for what is as it was", async () => {
    await realtime.rows(LIST, [task(1), task(2)]);
    mount(<List />);
    await realtime.settle();
    await realtime.broadcast(LIST, task(2, "two"));
    await realtime.reset();
    await realtime.broadcast(LIST, task(1));
    expect([renders.get("row 1"), renders.get("row 2")]).toEqual([1, 2]);
  });

  test("a reset shows no empty list", async () => {
    await realtime.rows(LIST, [task(1)]);
    const { text } = mount(<List />);
    await realtime.settle();
    const seen = new Set<unknown>();
    const leave = rowsStore(realtime.client, LIST).subscribe(({ rows }) => seen.add(rows?.length));
    await realtime.reset();
    await realtime.rows(LIST, [task(5)]);
    expect([text(), [...seen]]).toEqual(["t5fresh ", [1]]);
    leave();
  });

  test("what changed while the page was away arrives; meanwhile it shows what it had", async () => {
    await realtime.rows(LIST, [task(1), task(2)]);
    const { text } = mount(<List />);
    await realtime.settle();
    await realtime.disconnect();
    await realtime.rows(LIST, [task(2), task(3)]);
    expect(text()).toBe("t1t2");
    await realtime.reconnect();
    expect(text()).toBe("t2t3fresh ");
    await realtime.disconnect();
    await realtime.reset();
    await realtime.rows(LIST, [task(4)]);
    await realtime.reconnect();
    expect(text()).toBe("t4fresh ");
  });

  test("is selected and sorted; what is left out renders nothing, also with functions that are new each time", async () => {
    await realtime.rows(LIST, [task(1, "b"), task(2, "a"), task(3, "c", true)]);
    const Open = () => <List where={(row) => !(row as Task).done} sort={(a, b) => ((a as Task).title < (b as Task).title ? -1 : 1)} />;
    const { text } = mount(<Open />);
    await realtime.settle();
    expect(text()).toBe("abfresh ");
    const before = renders.get("list");
    await realtime.broadcast(LIST, task(3, "d", true));
    expect(renders.get("list")).toBe(before);
    await realtime.broadcast(LIST, task(2, "z"));
    expect(text()).toBe("bzfresh ");
  });

  test("a row that moves between two lists is never in neither and never in both", async () => {
    const seen = new Set<string>();
    function Two() {
      const one = useRows("task_rows.1").rows;
      const other = useRows("task_rows.2").rows;
      if (one && other) seen.add(`${one.length} ${other.length}`);
      return null;
    }
    await realtime.rows("task_rows.1", [task(1)]);
    mount(<Two />);
    await realtime.settle();
    await realtime.commit([{ channel: "task_rows.1", gone: { id: 1 } }, { channel: "task_rows.2", payload: task(1) }]);
    expect([...seen]).toEqual(["1 0", "0 1"]);
  });

  test("finds a row by its key, among those that are shown", async () => {
    const found: unknown[] = [];
    function Find({ where }: { readonly where?: (row: unknown) => boolean }) {
      const { rows } = useRows(LIST, where && { where });
      found.push([rows?.get(1), rows?.get(2), rows?.get(9)]);
      return null;
    }
    await realtime.rows(LIST, [task(1), task(2, "b", true)]);
    const { show } = mount(<Find />);
    await realtime.settle();
    expect(found.at(-1)).toEqual([task(1), task(2, "b", true), undefined]);
    show(<Find where={(row) => !(row as Task).done} />);
    expect(found.at(-1)).toEqual([task(1), undefined, undefined]);
  });

  test("a key of several fields is an object", async () => {
    await realtime.rows("seat_rows", [{ room: "a", number: 1, free: true }, { room: "a", number: 2, free: false }], ["room", "number"]);
    function Seat() {
      return <p>{String((useRows("seat_rows").rows?.get({ number: 2, room: "a" }) as { free?: boolean } | undefined)?.free)}</p>;
    }
    const { text } = mount(<Seat />);
    await realtime.settle();
    expect(text()).toBe("false");
    await realtime.broadcast("seat_rows", { room: "a", number: 2, free: true });
    expect(text()).toBe("true");
  });

  test("ten components share one subscription and one list; the last one ends it", async () => {
    await realtime.rows(LIST, [task(1)]);
    const { show, unmount } = mount(Array.from({ length: 10 }, (_, n) => <List key={n} />));
    await realtime.settle();
    expect([realtime.subscriptions(), renders.get("list")]).toEqual([[LIST], 20]);
    show([<List key="0" />, <List key="late" />]);
    expect(realtime.subscriptions()).toEqual([LIST]);
    unmount();
    await realtime.settle();
    expect(realtime.subscriptions()).toEqual([]);
  });

  test("a component that comes later shows at once what is there", async () => {
    await realtime.rows(LIST, [task(1)]);
    const { text, show } = mount(<List key="a" />);
    await realtime.settle();
    show([<List key="a" />, <List key="b" />]);
    expect(text()).toBe("t1fresh t1fresh ");
  });

  test("null is off; another channel begins anew", async () => {
    await realtime.rows(LIST, [task(1)]);
    await realtime.rows("task_rows.8", [task(8)]);
    const { text, show } = mount(<List name={null} />);
    await realtime.settle();
    expect([text(), realtime.subscriptions()]).toEqual(["", []]);
    show(<List />);
    await realtime.settle();
    expect(text()).toBe("t1fresh ");
    show(<List name="task_rows.8" />);
    expect(text()).toBe("loading ");
    await realtime.settle();
    expect([text(), realtime.subscriptions()]).toEqual(["t8fresh ", ["task_rows.8"]]);
  });

  test("a refused channel is an error, and one whose rows cannot be read now still loads", async () => {
    await realtime.refuse(LIST);
    await realtime.refuse("task_rows.8", "rows_unreadable");
    const { text } = mount([<List key="a" />, <List key="b" name="task_rows.8" />]);
    await realtime.settle();
    expect(text()).toBe("the test refused task_rows.7loading the test refused task_rows.8");
    realtime.allow("task_rows.8");
    await realtime.reconnect();
    expect(text()).toBe("the test refused task_rows.7fresh ");
  });

  test("close() forgets the rows", async () => {
    await realtime.rows(LIST, [task(1)]);
    const { text } = mount(<List />);
    await realtime.settle();
    act(() => realtime.client.close());
    await realtime.settle();
    expect(text()).toBe("loading ");
  });

  test("a server renders what a page shows first, and a boundary that is hydrated late fits it", async () => {
    await realtime.rows(LIST, [task(1)]);
    const html = renderToString(within(<List />));
    const errors = vi.fn();
    const live = rowsStore(realtime.client, LIST).subscribe(() => undefined);
    await realtime.settle();
    const main = document.createElement("main");
    main.innerHTML = html;
    await act(async () => {
      hydrateRoot(main, within(<List />), { onRecoverableError: errors });
      await Promise.resolve();
    });
    expect([errors.mock.calls, main.textContent]).toEqual([[], "t1fresh "]);
    live();
  });
});

describe("rowsStore", () => {
  test("calls a subscriber at once and with each change; who only looks in asks for nothing", async () => {
    await realtime.rows(LIST, [task(1)]);
    const store = rowsStore(realtime.client, LIST);
    store.subscribe(() => undefined)();
    await realtime.settle();
    expect(realtime.subscriptions()).toEqual([]);
    const seen: unknown[] = [];
    const leave = store.subscribe(({ rows, fresh }) => seen.push([rows?.length, fresh]));
    await realtime.settle();
    await realtime.broadcast(LIST, task(2));
    expect([seen[0], seen.at(-1)]).toEqual([[undefined, false], [2, true]]);
    leave();
    leave();
    await realtime.broadcast(LIST, task(3));
    expect(seen.at(-1)).toEqual([2, true]);
  });
});
