/** A React page whose socket, clock and frames are in the test's hands. */
import { act, cleanup, configure, render } from "@testing-library/react";
import type { ReactNode } from "react";
import { afterEach, beforeEach, vi } from "vitest";
import type { Client, ClientOptions } from "../src/options.js";
import { RealtimeProvider } from "../src/react.js";
import { clientOn, FakeSocket, settle } from "./socket.js";

configure({ reactStrictMode: true });

export let client: Client;
export let frames: Map<number, () => void>;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  frames = new Map();
  let id = 0;
  vi.stubGlobal("requestAnimationFrame", (f: () => void) => (frames.set(++id, f), id));
  vi.stubGlobal("cancelAnimationFrame", (cancelled: number) => frames.delete(cancelled));
});

afterEach(async () => {
  cleanup();
  (client as Client | undefined)?.close();
  while (frames.size) await nextFrame();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

export const flush = () => act(settle);
export const nextFrame = () =>
  act(async () => {
    for (const frame of [...frames.values()]) frame();
    await settle();
  });
export const says = (...said: readonly unknown[]) =>
  act(async () => {
    FakeSocket.last.says(...said);
    await settle();
  });

export const mount = async (children: ReactNode, options?: ClientOptions) => {
  client = clientOn(options);
  const tree = (inner: ReactNode) => <RealtimeProvider client={client}>{inner}</RealtimeProvider>;
  const view = render(tree(children));
  await flush();
  return { ...view, show: (inner: ReactNode) => view.rerender(tree(inner)) };
};

/** Open the socket and answer what was asked. */
export const connect = () =>
  act(async () => {
    FakeSocket.last.open().answer();
    await settle();
  });

export const subscriptions = () => FakeSocket.opened.flatMap((s) => s.sent).filter((f) => JSON.stringify(f).includes("subscribe"));
