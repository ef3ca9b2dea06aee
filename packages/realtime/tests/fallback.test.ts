/** The fallback as the client meets it; what it does is tested in a browser, behind a proxy that refuses WebSockets. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Client, createClient } from "../src/index.js";
import { createFallback } from "../src/fallback.js";
import { FakeSocket } from "./socket.js";

let client: Client | undefined;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("WebSocket", FakeSocket);
  FakeSocket.opened = [];
});
afterEach(() => {
  client?.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.doUnmock("../src/fallback.js");
});

/** Fail as often, each time as soon as there is a socket: one that takes long to open is another reason for the fallback. */
const fail = async (times: number) => {
  client = createClient({ url: "wss://flowcraft.example/realtime" });
  client.subscribe("run_update", () => undefined);
  await vi.waitUntil(() => FakeSocket.opened.length > 0);
  for (let failed = 1; failed <= times; failed++) {
    FakeSocket.last.lose();
    await vi.waitUntil(() => FakeSocket.opened.length > failed, { timeout: 10_000 }); // turns the fake clock, too
  }
};

test("after two failures the fallback is loaded, and not before", async () => {
  const loaded = vi.fn();
  vi.doMock("../src/fallback.js", () => {
    loaded();
    return { createFallback: (url: string) => new FakeSocket(url) };
  });
  await fail(1);
  expect(loaded).not.toHaveBeenCalled();
  client?.close();
  FakeSocket.opened = [];
  await fail(2);
  await vi.waitUntil(() => loaded.mock.calls.length > 0);
  expect(loaded).toHaveBeenCalledOnce();
});

test("where the fallback cannot be had, as after a deploy, WebSockets go on", async () => {
  vi.doMock("../src/fallback.js", () => {
    throw new Error("404");
  });
  await fail(6);
  expect(FakeSocket.opened).toHaveLength(7);
});

/** The close code of a socket whose stream is answered so. */
const codeOf = async (status: number, body: string, socket?: FakeSocket): Promise<number | undefined> => {
  vi.stubGlobal("fetch", () => Promise.resolve(new Response(body, { status })));
  let closed: number | undefined;
  const fallback = createFallback("wss://flowcraft.example/realtime", "a token", socket as WebSocket | undefined, 0, "key");
  fallback.onclose = ({ code }) => (closed = code);
  await vi.advanceTimersByTimeAsync(10);
  return closed;
};

test.each([4401, 4500, 4501])("a stream that is answered with 401 and %i ends with that code", async (code) => {
  expect(await codeOf(401, JSON.stringify({ code, reason: "…" }))).toBe(code);
});

test.each(["", "<html>", "null", "7", "{}", '{"code":"4500"}', '{"code":1000}', '{"code":4505}'])("a 401 of a proxy, %j, is a lost connection", async (body) => {
  expect(await codeOf(401, body)).toBe(1006);
});

test("another status is a lost connection, whatever its body has", async () => {
  expect(await codeOf(403, '{"code":4500}')).toBe(1006);
});

test("while the WebSocket may still open, a 401 does not end the attempt", async () => {
  const socket = new FakeSocket("wss://flowcraft.example/realtime");
  expect(await codeOf(401, '{"code":4401}', socket)).toBeUndefined();
});
