/** What users of other reconnecting clients have reported in public, tried with this one; each test names the report. */
import { expect, test, vi } from "vitest";
import { type Client, createClient } from "../src/index.js";
import { createFallback } from "../src/fallback.js";
import { hello, Page, point, subscribed } from "./server.js";
import { clientOn, FakeSocket, fakeTime, settle } from "./socket.js";

let client: Client | undefined;

fakeTime(() => client);

// rsocket/rsocket-js#298
test.each([-3_600_000, -60_000, 3_600_000])("a clock that is set by %i ms hides no dead connection; it costs one reconnect, which resumes", (ms) => {
  const { page, handler } = Page.live();
  page.wait(5_000).server(point("c1", 0)).take();
  page.wait(ms).timer(); // the watch that was due
  expect(page.effects.slice(0, 1)).toEqual([["close", 1000]]);
  expect(page.take("fresh")).toEqual([[handler, false]]);
  page.timer().open().server(hello());
  expect(page.take("send")).toEqual([{ subscribe: ["run_update"], since: "c1", ref: 2 }]);
});

// robtaussig/react-use-websocket#269
test("the watch of the connection before a sleep does not end the one after it", () => {
  const { page } = Page.live();
  page.wait(10_000).lose().take();
  page.wait(28_800_000).do(page.machine.wake(page.now));
  page.open().server(hello(), subscribed(2, "c0")).timer();
  expect(page.take("close")).toEqual([]);
  expect(page.machine.connection()).toMatchObject({ status: "open", fresh: true });
});

// supabase/realtime-js#121: browsers let the timers of a hidden tab run once a minute
test("timers that are a minute late end no connection whose heartbeats arrive", () => {
  const { page } = Page.live();
  for (let minute = 1; minute < 30; minute++) {
    for (let n = 0; n < 6; n++) page.wait(10_000).server(point(`c${minute}.${n}`, 0));
    page.timer();
  }
  expect(page.take("close")).toEqual([]);
  expect(page.machine.connection()).toMatchObject({ status: "open", fresh: true });
});

// centrifugal/centrifuge-js#265
test("a subscription that token() makes while it runs shares the first request", async () => {
  client = clientOn({
    token: async () => {
      client?.subscribe("system", () => undefined);
      return Promise.resolve("jwt");
    },
  });
  client.subscribe("run_update", () => undefined);
  await settle();
  FakeSocket.last.open();
  await settle();
  expect(FakeSocket.last.sent).toEqual([{ auth: "jwt" }, { subscribe: ["run_update", "system"], ref: 1 }]);
  expect(FakeSocket.opened).toHaveLength(1);
});

// centrifugal/centrifuge-go#141, centrifugal/centrifuge-dart#129
test("a renewal that ends after a reconnect is not sent to the new connection, which renews once by itself", async () => {
  const results: ((token: string) => void)[] = [];
  client = clientOn({ token: () => new Promise((resolve) => results.push(resolve)) });
  client.subscribe("run_update", () => undefined);
  results[0]?.("first");
  await settle();
  const live = async (seconds: number) => {
    for (let n = 0; n < seconds; n++) {
      await vi.advanceTimersByTimeAsync(1_000);
      FakeSocket.last.says(point(`c${results.length}.${n}`, 0));
    }
  };
  FakeSocket.last.open({ authenticated: { expires_in: 100 } }).answer();
  await live(80);
  expect(results).toHaveLength(2); // the renewal
  FakeSocket.last.lose();
  await vi.advanceTimersByTimeAsync(300);
  results[2]?.("second");
  await settle();
  FakeSocket.last.open({ authenticated: { expires_in: 100 } }).answer();
  results[1]?.("late");
  await settle();
  expect(FakeSocket.last.sent.filter((frame) => "auth" in (frame as object))).toEqual([{ auth: "second" }]);
  await live(89); // less than a tenth of the time later it is fetched again, as there was none
  expect(results).toHaveLength(4);
});

// nbd-wtf/nostr-tools#550, pladaria/reconnecting-websocket#170
test("of 20 attempts that open nothing, no socket and no request is left", async () => {
  const signals: AbortSignal[] = [];
  vi.stubGlobal("fetch", (_: string, { signal }: RequestInit = {}) => {
    if (signal) signals.push(signal);
    return new Promise(() => undefined);
  });
  vi.stubGlobal("WebSocket", FakeSocket);
  client = createClient({ url: "wss://flowcraft.example/realtime" });
  client.subscribe("run_update", () => undefined);
  for (let n = 0; FakeSocket.opened.length < 21 && n < 600; n++) {
    await vi.advanceTimersByTimeAsync(1_000);
    await vi.dynamicImportSettled();
  }
  expect(FakeSocket.opened.slice(0, 20).filter(({ closed }) => closed === undefined)).toEqual([]);
  expect(signals.length).toBeGreaterThan(10);
  client.close();
  expect(FakeSocket.opened.filter(({ closed }) => closed === undefined)).toEqual([]);
  expect(signals.filter(({ aborted }) => !aborted)).toEqual([]);
});

// socketio/engine.io-client#693
test("after 20 reconnects a page event wakes the client once", async () => {
  const page = new EventTarget();
  vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
  vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
  client = clientOn();
  client.subscribe("run_update", () => undefined);
  for (let n = 0; n < 20; n++) {
    await settle();
    FakeSocket.last.open().answer().lose();
    await vi.advanceTimersByTimeAsync(3_000);
  }
  FakeSocket.last.open().answer();
  page.dispatchEvent(new Event("online"));
  expect(FakeSocket.last.sent.filter((frame) => "settle" in (frame as object))).toEqual([{ settle: "0" }]);
});

// appuri/robust-websocket#27: the network that answers may be another one
test.each([
  ["a page", "<!doctype html><p>Please sign in\n\n<p>data: {}\n\n"],
  ["a page that looks like a stream", "data: <html>\n\n"],
  ["nothing", ""],
])("a stream that a captive portal answers with %s is a lost connection", async (_, body) => {
  vi.stubGlobal("WebSocket", FakeSocket);
  vi.stubGlobal("fetch", () => Promise.resolve(new Response(body, { status: 200, headers: { "Content-Type": "text/html" } })));
  const fallback = createFallback("wss://flowcraft.example/realtime", "a token", undefined, 0, "key", true);
  const [received, closed] = [vi.fn(), vi.fn()];
  [fallback.onmessage, fallback.onclose] = [received, closed];
  await vi.advanceTimersByTimeAsync(100);
  const codes = closed.mock.calls.map(([how]) => (how as { code: number }).code);
  expect([received.mock.calls.length ? "a message" : "none", codes]).toEqual([body.startsWith("data") ? "a message" : "none", [1006]]);
});
