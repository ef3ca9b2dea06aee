// @vitest-environment happy-dom
import { act } from "@testing-library/react";
import { useState } from "react";
import { describe, expect, test, vi } from "vitest";
import { type ChannelState, useChannel, useChannelState } from "../src/react.js";
import { client, connect, flush, mount, nextFrame, says } from "./mounted.js";
import { event, point, refusal, reset, subscribed } from "./server.js";
import { FakeSocket, settle } from "./socket.js";

type Load = () => Promise<{ data: readonly number[]; cursor: string }>;

/** A list of numbers that a component keeps; `loads` are answered by the test. */
const board = () => {
  const loads: { give: (data: readonly number[], cursor: string) => Promise<void>; fail: () => Promise<void> }[] = [];
  const load: Load = () =>
    new Promise((resolve, reject) =>
      loads.push({
        give: (data, cursor) =>
          act(async () => {
            resolve({ data, cursor });
            await settle();
          }),
        fail: () =>
          act(async () => {
            reject(new Error("offline"));
            await settle();
          }),
      }),
    );
  const seen: ChannelState<readonly number[]>[] = [];
  function List({ name = "run_update", reduce = append }: { readonly name?: string | null; readonly reduce?: typeof append }) {
    const state = useChannelState(name, { load, reduce, initial: none });
    seen.push(state);
    return <p>{`${state.data.join()}${state.fresh ? " fresh" : ""}${state.loading ? " loading" : ""}${state.error ? " error" : ""}`}</p>;
  }
  const last = () => {
    const found = loads.at(-1);
    if (!found) throw new Error("nothing was loaded");
    return found;
  };
  return { List, loads, last, seen };
};
const none: readonly number[] = [];
const append = (data: readonly number[], payload: unknown) => [...data, Number(payload)];

describe("useChannelState", () => {
  test("loads, follows the cursor it was loaded at, and joins the two without gap or overlap", async () => {
    const { List, last } = board();
    const { container } = await mount(<List />);
    expect(container.textContent).toBe(" loading");
    await last().give([1, 2], "at2");
    await nextFrame();
    expect(container.textContent).toBe("1,2");
    FakeSocket.last.open();
    expect(FakeSocket.last.sent).toEqual([{ subscribe: ["run_update"], since: "at2", ref: 1 }]);
    await says(event(3), event(4), subscribed(1, "c4", 2));
    await nextFrame();
    expect(container.textContent).toBe("1,2,3,4 fresh");
    await says(event(5), point("c5", 1));
    await nextFrame();
    expect(container.textContent).toBe("1,2,3,4,5 fresh");
  });

  test("events that a live channel tells while the state is loading are not applied twice", async () => {
    const { List, last } = board();
    function Other() {
      useChannel("run_update", () => undefined);
      return null;
    }
    const { container } = await mount([<Other key="o" />, <List key="l" />]);
    await connect();
    await says(event(1), point("c1", 1), event(2), point("c2", 1));
    await last().give([1], "c1");
    expect(FakeSocket.last.sent.at(-1)).toEqual({ subscribe: ["run_update"], since: "c1", ref: 2 });
    await says(event(3), point("c3", 1));
    await says(event(2), event(3), subscribed(2, "c3", 2), event(4), point("c4", 1));
    await nextFrame();
    expect(container.textContent).toBe("1,2,3,4 fresh");
  });

  test("a burst of 5,000 events is reduced completely and rendered at once, then once a frame", async () => {
    const { List, last, seen } = board();
    const { container } = await mount(<List />);
    await last().give([], "c0");
    await connect();
    await nextFrame();
    await nextFrame();
    const before = seen.length;
    for (let frame = 0; frame < 5; frame++) {
      for (let i = frame * 1000 + 1; i <= (frame + 1) * 1000; i++) FakeSocket.last.says(event(i), point(`c${i}`, 1));
      await flush();
      await nextFrame();
    }
    await nextFrame();
    expect(container.textContent).toBe(`${Array.from({ length: 5000 }, (_, i) => i + 1).join()} fresh`);
    expect((seen.length - before) / 2).toBeLessThanOrEqual(7); // StrictMode renders twice
  });

  test("the first group after a quiet time is rendered without waiting for a frame", async () => {
    const { List, last } = board();
    const { container } = await mount(<List />);
    await last().give([], "c0");
    await connect();
    await nextFrame();
    await nextFrame();
    await says(event(1), point("c1", 1));
    expect(container.textContent).toBe("1 fresh");
    await says(event(2), point("c2", 1));
    expect(container.textContent).toBe("1 fresh");
    await nextFrame();
    expect(container.textContent).toBe("1,2 fresh");
  });

  test("two states that one transaction has changed are never rendered apart", async () => {
    const count = (n: number) => n + 1;
    const load = () => Promise.resolve({ data: 0, cursor: "c0" });
    const seen = new Set<string>();
    function Sums() {
      const a = useChannelState("run_update", { load, reduce: count, initial: 0 });
      const b = useChannelState("system", { load, reduce: count, initial: 0 });
      seen.add(`${a.data} ${b.data}`);
      const [, again] = useState(0);
      useChannel("run_update", () => again((n) => n + 1)); // renders in between, for another reason
      return null;
    }
    await mount(<Sums />);
    await connect();
    await nextFrame();
    await nextFrame();
    for (let i = 1; i <= 6; i++) {
      await says(event(2 * i), event(2 * i + 1, "system"), point(`c${i}`, 2));
      if (i % 3 === 0) await nextFrame();
    }
    await nextFrame();
    expect([...seen]).toEqual(["0 0", "1 1", "3 3", "6 6"]);
  });

  test("a hidden page, which has no frames, still follows", async () => {
    const { List, last } = board();
    const { container } = await mount(<List />);
    await last().give([], "c0");
    await connect();
    await says(event(1), point("c1", 1), event(2), point("c2", 1));
    await act(() => vi.advanceTimersByTimeAsync(1_000));
    expect(container.textContent).toBe("1,2 fresh");
  });

  test("a failed load is shown and tried again", async () => {
    const { List, loads, last } = board();
    const { container } = await mount(<List />);
    await last().fail();
    await nextFrame();
    expect(container.textContent).toBe(" error");
    const tried = loads.length;
    await act(() => vi.advanceTimersByTimeAsync(250));
    expect(loads).toHaveLength(tried + 1);
    await last().give([1], "c1");
    await nextFrame();
    await nextFrame();
    expect(container.textContent).toBe("1");
  });

  test("after a reset it is not fresh until it has loaded again and follows the new cursor", async () => {
    const { List, last } = board();
    const { container } = await mount(<List />);
    await last().give([1], "c1");
    await connect();
    await says(reset("c9"));
    await nextFrame();
    expect(container.textContent).toBe("1 loading");
    await last().give([1, 7, 8, 9], "at9");
    expect(FakeSocket.last.sent.at(-1)).toEqual({ subscribe: ["run_update"], since: "at9", ref: 2 });
    await says(subscribed(2, "c9"));
    await nextFrame();
    expect(container.textContent).toBe("1,7,8,9 fresh");
  });

  test("reload loads again and keeps what is shown until then", async () => {
    const { List, last, seen } = board();
    const { container, show } = await mount(<List />);
    await last().give([1], "c1");
    await connect();
    act(() => seen.at(-1)?.reload());
    await nextFrame();
    expect(container.textContent).toBe("1 fresh loading");
    await last().give([2], "c2");
    await nextFrame();
    expect(container.textContent).toBe("2");
    await says(event(3), point("c3", 1), event(3), subscribed(2, "c3", 1), event(4), point("c4", 1));
    await nextFrame();
    expect(container.textContent).toBe("2,3,4 fresh");
    show(null);
    await act(() => vi.advanceTimersByTimeAsync(1_000));
    expect(FakeSocket.last.sent.at(-1)).toEqual({ unsubscribe: ["run_update"] });
  });

  test("a refused channel is an error", async () => {
    const { List, last } = board();
    const { container } = await mount(<List />);
    await last().give([1], "c1");
    FakeSocket.last.open();
    await says(refusal(1, "run_update"));
    await nextFrame();
    expect(container.textContent).toBe("1 error");
    act(() => FakeSocket.last.lose());
    await act(() => vi.advanceTimersByTimeAsync(250));
    await connect();
    await nextFrame();
    expect(container.textContent).toBe("1 fresh");
  });

  test("a reducer that throws is reported, shown, and mended by loading again", async () => {
    const onError = vi.fn();
    const { List, last } = board();
    const picky = (data: readonly number[], payload: unknown) => {
      if (payload === 13) throw new Error("unlucky");
      return append(data, payload);
    };
    const { container } = await mount(<List reduce={picky} />, { onError });
    await last().give([], "c0");
    await connect();
    await says(event(13), point("c1", 1));
    await nextFrame();
    expect(onError).toHaveBeenCalledWith(new Error("unlucky"));
    expect(container.textContent).toBe(" error");
    await act(() => vi.advanceTimersByTimeAsync(250));
    await last().give([13], "c1");
    await says(subscribed(2, "c1"));
    await nextFrame();
    expect(container.textContent).toBe("13 fresh");
  });

  test("leaving while it loads subscribes nothing", async () => {
    const { List, loads } = board();
    const { show } = await mount(<List />);
    show(null);
    for (const load of loads) await load.give([1], "c1");
    expect(FakeSocket.opened).toHaveLength(0);
  });

  test("leaving after a failure does not try again", async () => {
    const { List, loads, last } = board();
    const { show } = await mount(<List />);
    await last().fail();
    show(null);
    await act(() => vi.advanceTimersByTimeAsync(60_000));
    expect(loads).toHaveLength(1);
  });

  test("leaving unsubscribes", async () => {
    const { List, last } = board();
    const { show } = await mount(<List />);
    await last().give([1], "c1");
    await connect();
    show(null);
    await act(() => vi.advanceTimersByTimeAsync(1_000));
    expect(FakeSocket.last.sent.at(-1)).toEqual({ unsubscribe: ["run_update"] });
  });

  test("only the last of several loads counts", async () => {
    const { List, loads, seen } = board();
    const { container } = await mount(<List />);
    expect(loads).toHaveLength(1); // although StrictMode mounts twice
    act(() => seen.at(-1)?.reload());
    await loads[1]?.give([2], "c2");
    await loads[0]?.give([1], "c1");
    await nextFrame();
    expect(container.textContent).toBe("2");
  });

  test("nor does the failure of an earlier one", async () => {
    const { List, loads, seen } = board();
    const { container } = await mount(<List />);
    act(() => seen.at(-1)?.reload());
    await loads[1]?.give([2], "c2");
    await loads[0]?.fail();
    await nextFrame();
    expect(container.textContent).toBe("2");
  });

  test("another channel begins anew; null is off", async () => {
    const { List, last, loads } = board();
    const { container, show } = await mount(<List name={null} />);
    expect([container.textContent, loads.length]).toEqual(["", 0]);
    show(<List name="runs.1" />);
    await flush();
    await last().give([1], "c1");
    await nextFrame();
    expect(container.textContent).toBe("1");
    show(<List name="runs.2" />);
    expect(container.textContent).toBe(" loading");
  });

  test("close() forgets the data", async () => {
    const { List, last } = board();
    const { container } = await mount(<List />);
    await last().give([1], "c1");
    await connect();
    await nextFrame();
    act(() => client.close());
    await nextFrame();
    expect(container.textContent).toBe("");
  });

  test("what was loading at close() is not followed", async () => {
    const { List, last } = board();
    const { container } = await mount(<List />);
    act(() => client.close());
    await last().give([1], "c1");
    await nextFrame();
    expect(container.textContent).toBe("");
    expect(FakeSocket.opened).toHaveLength(0);
  });

  test("a server that closes for good takes nothing away", async () => {
    const { List, last } = board();
    const { container } = await mount(<List />, { onError: () => undefined });
    await last().give([1], "c1");
    await connect();
    act(() => FakeSocket.last.lose(4500));
    await nextFrame();
    await nextFrame();
    expect(container.textContent).toBe("1");
  });

  test("a lost connection keeps the data and says it is not fresh", async () => {
    const { List, last } = board();
    const { container } = await mount(<List />);
    await last().give([1], "c1");
    await connect();
    await nextFrame();
    act(() => FakeSocket.last.lose());
    await nextFrame();
    await nextFrame();
    expect(container.textContent).toBe("1");
  });
});
