// @vitest-environment happy-dom
/** A page that a server has rendered, and one whose modules are replaced while it is open. */
import { act, cleanup, render } from "@testing-library/react";
import { StrictMode, Suspense, use } from "react";
import { hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, expect, test, vi } from "vitest";
import { createClient } from "../src/client.js";
import type { Client } from "../src/options.js";
import { RealtimeProvider, useChannel, useChannelState, useClient, useConnection } from "../src/react.js";
import { clientOn, FakeSocket, settle } from "./socket.js";

let client: Client;

afterEach(() => {
  cleanup();
  client.close();
  vi.useRealTimers();
});

test("on a server the first render is the state before anything is known", () => {
  function Page() {
    const { status } = useConnection();
    const { data, loading } = useChannelState("run_update", {
      load: () => Promise.resolve({ data: 1, cursor: "" }),
      reduce: (n: number) => n,
    });
    useClient();
    return <p>{`${status} ${String(data)} ${String(loading)}`}</p>;
  }
  client = clientOn();
  const html = renderToString(
    <StrictMode>
      <RealtimeProvider client={client}>
        <Page />
      </RealtimeProvider>
    </StrictMode>,
  );
  expect(html).toBe("<p>connecting undefined true</p>");
  expect(FakeSocket.opened).toHaveLength(0);
});

test("a boundary that is hydrated after the connection is open shows first what the server has rendered", async () => {
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  let arrive: () => void = () => undefined;
  const late = new Promise<void>((resolve) => (arrive = resolve));
  const shown: string[] = [];
  function Late({ waits }: { readonly waits: boolean }) {
    if (waits) use(late);
    const { status, fresh } = useConnection();
    const { data, loading } = useChannelState("system", { load: () => Promise.resolve({ data: 1, cursor: "c0" }), reduce: (n: number) => n });
    const text = `${status} ${String(fresh)} ${String(data)} ${String(loading)}`;
    shown.push(text);
    return <p>{text}</p>;
  }
  function Live() {
    useChannel("run_update", () => undefined);
    return null;
  }
  const tree = (waits: boolean) => (
    <StrictMode>
      <RealtimeProvider client={client}>
        <Live />
        <Suspense fallback="…">
          <Late waits={waits} />
        </Suspense>
      </RealtimeProvider>
    </StrictMode>
  );
  client = clientOn();
  const container = document.createElement("div");
  container.innerHTML = renderToString(tree(false));
  document.body.append(container);
  shown.length = 0;
  const onRecoverableError = vi.fn();
  const root = await act(() => hydrateRoot(container, tree(true), { onRecoverableError }));
  await act(async () => {
    FakeSocket.last.open().answer();
    await settle();
  });
  expect(client.connection.get()).toMatchObject({ status: "open", fresh: true });
  await act(async () => {
    arrive();
    await settle();
  });
  expect(onRecoverableError.mock.calls).toEqual([]);
  expect(shown[0]).toBe("connecting false undefined true");
  expect(container.textContent).toMatch(/^open/);
  act(() => root.unmount());
});

test("when a module that makes the client is replaced, the sockets of its earlier versions are closed", async () => {
  vi.useFakeTimers();
  function Live() {
    useChannel("run_update", () => undefined);
    return null;
  }
  client = clientOn();
  const tree = (client: Client) => (
    <StrictMode>
      <RealtimeProvider client={client}>
        <Live />
      </RealtimeProvider>
    </StrictMode>
  );
  const view = render(tree(client));
  for (let version = 0; version < 3; version++) {
    await act(settle);
    act(() => void FakeSocket.last.open().answer());
    client = createClient({ url: "wss://flowcraft.example/realtime", WebSocket: FakeSocket });
    view.rerender(tree(client));
  }
  await act(settle);
  act(() => void FakeSocket.last.open().answer());
  await act(() => vi.advanceTimersByTimeAsync(10_000));
  expect(FakeSocket.opened.map(({ closed }) => closed)).toEqual([1000, 1000, 1000, undefined]);
});
