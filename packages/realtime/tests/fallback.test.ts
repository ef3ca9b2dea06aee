/** The fallback as the client meets it; what it does is tested in a browser, behind a proxy that refuses WebSockets. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Client, createClient } from "../src/index.js";
import { createFallback } from "../src/fallback.js";
import { FakeSocket, fakeTime } from "./socket.js";

let client: Client | undefined;

fakeTime(() => client);
beforeEach(() => void vi.stubGlobal("WebSocket", FakeSocket));
afterEach(() => {
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

const never = () => new Promise<Response>(() => undefined);
const answered = (status: number, after = 0) => () => new Promise<Response>((resolve) => setTimeout(() => resolve(new Response("", { status })), after));

test.each([
  ["is refused for its channels: the stream is held back", never, answered(400), 1],
  ["is refused for want of a token: the stream is held back", never, answered(401), 1],
  ["is answered for a server that is down", never, answered(502), 0],
  ["waits its turn, too", never, answered(400, 2_000), 0],
  ["is not answered either", never, never, 0],
  ["cannot be sent", never, () => Promise.reject(new TypeError("no network")), 0],
  ["is answered, but the stream was refused", answered(502), answered(400), 0],
])("a stream that brings nothing for 5 s, while another request %s", async (_, post, get, reports) => {
  vi.stubGlobal("fetch", (_: string, options?: RequestInit) => (options?.method === "POST" ? post() : get()));
  const socket = new FakeSocket("wss://flowcraft.example/realtime"); // it may still open
  const fallback = createFallback("wss://flowcraft.example/realtime", undefined, socket as unknown as WebSocket, 0, "key");
  const onError = (fallback.onerror = vi.fn());
  await vi.advanceTimersByTimeAsync(10_000);
  expect(onError).toHaveBeenCalledTimes(reports);
});

test.each([
  ["wss://flowcraft.example/realtime", "https://flowcraft.example/realtime/events"],
  ["ws://flowcraft.example:8400/realtime/", "http://flowcraft.example:8400/realtime/events"],
  ["WSS://flowcraft.example?room=a/b", "httpS://flowcraft.example/events?room=a/b"],
])("below %s streams are at %s", async (url, expected) => {
  const asked = vi.fn<(url: string, options: RequestInit) => Promise<Response>>(never);
  vi.stubGlobal("fetch", asked);
  createFallback(url, undefined, undefined, 0, "key");
  await vi.advanceTimersByTimeAsync(10);
  expect(asked.mock.calls.map(([address]) => address)).toEqual([expected]);
});

/** A page whose network passes the handshake; the calls of the fallback, which is a socket of the test. */
const behindAFilter = async () => {
  const calls: unknown[][] = [];
  vi.doMock("../src/fallback.js", () => ({
    createFallback: (...args: unknown[]) => {
      calls.push(args);
      return Object.assign(new FakeSocket("stream"), { isStream: true });
    },
  }));
  client = createClient({ url: "wss://flowcraft.example/realtime" });
  client.subscribe("run_update", () => undefined, { onError: () => undefined });
  await vi.waitUntil(() => FakeSocket.opened.length > 0);
  return calls;
};
const heartbeat = { cursor: "c0", n: 0, at: "2026-11-22T20:13:00.000Z" };
const names = () => FakeSocket.opened.map(({ url }) => url.replace(/^wss:.*/, "socket"));

test("a filter that passes the frames of the server alone: without an answer, the next attempt is a stream", async () => {
  const calls = await behindAFilter();
  FakeSocket.last.open();
  expect(FakeSocket.last.sent).toEqual([{ subscribe: ["run_update"], ref: 1 }]);
  await vi.advanceTimersByTimeAsync(4000);
  FakeSocket.last.says(heartbeat);
  expect(FakeSocket.last.closed).toBeUndefined();
  const [socket] = FakeSocket.opened;
  await vi.advanceTimersByTimeAsync(1000);
  expect(socket?.closed).toBe(1000);
  await vi.waitUntil(() => FakeSocket.opened.length > 1);
  expect(names()).toEqual(["socket", "stream"]); // no WebSocket beside it, which would say hello first
  expect(calls[0]?.[5]).toBe(true);
  FakeSocket.last.open().answer();
  expect(client?.connection.get()).toMatchObject({ status: "open", fresh: true });
  await vi.advanceTimersByTimeAsync(10_000);
  expect(FakeSocket.opened).toHaveLength(2);
  FakeSocket.last.lose();
  await vi.waitUntil(() => FakeSocket.opened.length > 2);
  expect(names()).toEqual(["socket", "stream", "stream"]);
  FakeSocket.last.lose(); // no stream either: everything is tried again
  await vi.waitUntil(() => FakeSocket.opened.length > 3);
  expect(names()[3]).toBe("socket");
});

test.each([
  ["subscribed", () => FakeSocket.last.answer()],
  ["a refusal", () => FakeSocket.last.says({ error: { code: "forbidden", message: "no", channels: ["run_update"], ref: 1 } })],
  ["the first event of a replay", () => FakeSocket.last.says({ channel: "run_update", payload: {}, id: 1 })],
])("%s is an answer, and the WebSocket stays", async (_, answer) => {
  const calls = await behindAFilter();
  FakeSocket.last.open();
  await vi.advanceTimersByTimeAsync(4000);
  answer();
  await vi.advanceTimersByTimeAsync(6000);
  expect([names(), calls]).toEqual([["socket"], []]);
});

test("a transaction that takes its time is no reason for a stream", async () => {
  const calls = await behindAFilter();
  client?.close();
  FakeSocket.opened = [];
  client = createClient({ url: "wss://flowcraft.example/realtime" });
  const settled = client.settled("757");
  await vi.waitUntil(() => FakeSocket.opened.length > 0);
  FakeSocket.last.open();
  expect(FakeSocket.last.sent).toEqual([{ settle: "757" }]);
  await vi.advanceTimersByTimeAsync(20_000);
  expect([names(), calls]).toEqual([["socket"], []]);
  FakeSocket.last.says({ settled: "757", cursor: "c1" });
  await settled;
});

test("an attempt whose WebSocket reports an error and no close, as in Node 20, ends at once", async () => {
  await behindAFilter();
  FakeSocket.last.onerror?.({});
  await vi.advanceTimersByTimeAsync(0);
  expect(client?.connection.get()).toMatchObject({ status: "waiting", attempts: 1 });
});

test("an error before a close is one failed attempt, with the code of the close", async () => {
  await behindAFilter();
  const socket = FakeSocket.last;
  socket.onerror?.({});
  socket.lose(1013);
  await vi.advanceTimersByTimeAsync(0);
  expect(client?.connection.get()).toMatchObject({ status: "waiting", attempts: 1, code: 1013 });
});
