// @vitest-environment happy-dom
import { act, render } from "@testing-library/react";
import { useEffect, useState } from "react";
import { describe, expect, test, vi } from "vitest";
import { useChannel, useConnection, useWebSocket } from "../src/react.js";
import { connect, flush, mount, says, subscriptions } from "./mounted.js";
import { event, point, reset } from "./server.js";
import { FakeSocket } from "./socket.js";

describe("useWebSocket", () => {
  function Status({ as }: { readonly as: string }) {
    const { subscribe } = useWebSocket();
    const [status, setStatus] = useState<unknown>("unknown");
    useEffect(() => subscribe("run_update", (payload) => setStatus(payload)), [subscribe]);
    return <p>{`${as}: ${String(status)}`}</p>;
  }

  test("ten components under StrictMode: one socket, one request, and each renders the event", async () => {
    const names = Array.from({ length: 10 }, (_, i) => `c${i}`);
    const { container } = await mount(names.map((name) => <Status key={name} as={name} />));
    await connect();
    await says(event(1, "run_update", "running"), point("c1", 1));
    expect(container.textContent).toBe(names.map((name) => `${name}: running`).join(""));
    expect(FakeSocket.opened).toHaveLength(1);
    expect(FakeSocket.last.sent).toEqual([{ subscribe: ["run_update"], ref: 1 }]);
  });

  test("going to another page and back within the linger sends nothing", async () => {
    const { show } = await mount(<Status as="a" />);
    await connect();
    show(<p>another page</p>);
    await act(() => vi.advanceTimersByTimeAsync(500));
    show(<Status as="b" />);
    await act(() => vi.advanceTimersByTimeAsync(5_000));
    expect(FakeSocket.opened).toHaveLength(1);
    expect(subscriptions()).toHaveLength(1);
  });

  test("leaving for longer unsubscribes", async () => {
    const { show } = await mount(<Status as="a" />);
    await connect();
    show(<p>another page</p>);
    await act(() => vi.advanceTimersByTimeAsync(1_000));
    expect(FakeSocket.last.sent.at(-1)).toEqual({ unsubscribe: ["run_update"] });
  });

  test("subscribe keeps its identity", async () => {
    const seen = new Set<unknown>();
    function Probe() {
      seen.add(useWebSocket().subscribe);
      return null;
    }
    const { show } = await mount(<Probe />);
    show(<Probe />);
    expect(seen.size).toBe(1);
  });

  test("without a provider there is a sentence, not a riddle", () => {
    const silenced = vi.spyOn(console, "error").mockImplementation(() => undefined);
    expect(() => render(<Status as="a" />)).toThrow("<RealtimeProvider>");
    silenced.mockRestore();
  });
});

describe("rendering", () => {
  let renders = 0;
  function Two() {
    const [runs, setRuns] = useState(0);
    const [system, setSystem] = useState(0);
    useChannel("run_update", () => setRuns((n) => n + 1));
    useChannel("system", () => setSystem((n) => n + 1));
    renders += 1;
    return <p>{`${runs} ${system}`}</p>;
  }

  test("a group is rendered once, whole, whatever the number of its events and channels", async () => {
    const { container } = await mount(<Two />);
    await connect();
    renders = 0;
    await says(event(1), event(2, "system"), event(3), point("c1", 3));
    expect(container.textContent).toBe("2 1");
    expect(renders).toBe(2); // StrictMode renders twice
  });
});

describe("useChannel", () => {
  function Listener({ name, heard }: { readonly name: string | null; readonly heard: (payload: unknown) => void }) {
    useChannel(name, heard);
    return null;
  }

  test("the latest handler is called, and changing it does not subscribe again", async () => {
    const first = vi.fn();
    const second = vi.fn();
    const { show } = await mount(<Listener name="run_update" heard={first} />);
    await connect();
    show(<Listener name="run_update" heard={second} />);
    await says(event(1), point("c1", 1));
    expect([first.mock.calls, second.mock.calls]).toEqual([[], [[1]]]);
    expect(subscriptions()).toHaveLength(1);
  });

  test("null listens to nothing, and connects to nothing", async () => {
    const heard = vi.fn();
    const { show } = await mount(<Listener name={null} heard={heard} />);
    expect(FakeSocket.opened).toHaveLength(0);
    show(<Listener name="system" heard={heard} />);
    await flush();
    await connect();
    await says(event(1, "system"), point("c1", 1));
    show(<Listener name={null} heard={heard} />);
    await says(event(2, "system"), point("c2", 1));
    expect(heard.mock.calls).toEqual([[1]]);
  });

  test("the latest callbacks are called as well", async () => {
    const onReset = vi.fn();
    function Resettable({ reset }: { readonly reset: () => void }) {
      useChannel("run_update", () => undefined, { since: "old", onReset: reset }); // each render makes new functions
      return null;
    }
    const { show } = await mount(<Resettable reset={() => undefined} />);
    FakeSocket.last.open();
    show(<Resettable reset={onReset} />);
    await flush();
    await says(reset("c1", 1));
    expect(onReset).toHaveBeenCalledOnce();
    expect(subscriptions()).toHaveLength(1);
  });
});

describe("useConnection", () => {
  test("tells status and freshness", async () => {
    function Badge() {
      const { status, fresh } = useConnection();
      useChannel("run_update", () => undefined);
      return <p>{`${status}${fresh ? ", fresh" : ""}`}</p>;
    }
    const { container } = await mount(<Badge />);
    expect(container.textContent).toBe("connecting");
    await connect();
    expect(container.textContent).toBe("open, fresh");
    await act(() => vi.advanceTimersByTimeAsync(20_000));
    expect(container.textContent).toBe("open");
    await says(point("c1", 0));
    expect(container.textContent).toBe("open, fresh");
    act(() => FakeSocket.last.lose());
    expect(container.textContent).toBe("waiting");
  });
});
