import { describe, expect, test, vi } from "vitest";
import { type Client, createClient, type RealtimeError } from "../src/index.js";
import { event, hello, point, refusal, reset, subscribed } from "./server.js";
import { clientOn, FakeSocket, fakeTime, settle } from "./socket.js";

let client: Client | undefined;

fakeTime(() => client);

describe("connecting", () => {
  test("nothing is opened before the first subscription, and ten subscriptions share one socket and one request", async () => {
    client = clientOn();
    await settle();
    expect(FakeSocket.opened).toHaveLength(0);
    for (let i = 0; i < 10; i++) client.subscribe("run_update", () => undefined);
    await settle();
    expect(FakeSocket.opened.map((s) => s.url)).toEqual(["wss://flowcraft.example/realtime"]);
    FakeSocket.last.open();
    expect(FakeSocket.last.sent).toEqual([{ subscribe: ["run_update"], ref: 1 }]);
  });

  test("subscriptions of one turn on an open connection share one request", async () => {
    client = clientOn();
    client.subscribe("run_update", () => undefined);
    await settle();
    FakeSocket.last.open().answer();
    for (let i = 0; i < 100; i++) client.subscribe(`runs.${i}`, () => undefined);
    await settle();
    expect(FakeSocket.last.sent).toHaveLength(2);
  });

  test.each([
    ["wss://flowcraft.example/realtime", undefined],
    ["wss://flowcraft.example/elsewhere", "/elsewhere"],
    ["ws://other.example/r", "http://other.example/r"],
  ])("the address is %s if %s is given", async (expected, url) => {
    vi.stubGlobal("location", { href: "https://flowcraft.example/runs/42?x=1" });
    FakeSocket.opened = [];
    client = createClient({ WebSocket: FakeSocket, ...(url && { url }) });
    client.subscribe("run_update", () => undefined);
    await settle();
    expect(FakeSocket.last.url).toBe(expected);
  });

  test("where there is no page an address is needed, and its absence is reported", async () => {
    const onError = vi.fn();
    client = createClient({ WebSocket: FakeSocket, onError });
    client.subscribe("run_update", () => undefined);
    await settle();
    expect(onError).toHaveBeenCalledOnce();
    expect(client.connection.get().status).toBe("stopped");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(onError).toHaveBeenCalledOnce();
  });

  test("the token is fetched before each connection, sent in band, and never in the address", async () => {
    const token = vi.fn((renew: boolean) => Promise.resolve(renew ? "new" : "old"));
    client = clientOn({ token });
    client.subscribe("run_update", () => undefined);
    await settle();
    FakeSocket.last.open().answer();
    expect(FakeSocket.last.sent[0]).toEqual({ auth: "old" });
    FakeSocket.last.lose(4401);
    await vi.advanceTimersByTimeAsync(5_000);
    FakeSocket.last.open();
    expect(FakeSocket.last.sent[0]).toEqual({ auth: "new" });
    expect(FakeSocket.opened.map((s) => s.url).join()).not.toContain("old");
  });

  test("a token that cannot be had is reported, and tried again", async () => {
    const onError = vi.fn();
    const token = vi.fn<() => Promise<string>>().mockRejectedValueOnce(new Error("offline")).mockResolvedValue("jwt");
    client = clientOn({ token, onError });
    client.subscribe("run_update", () => undefined);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(onError).toHaveBeenCalledExactlyOnceWith(new Error("offline"));
    expect(FakeSocket.last.open().sent[0]).toEqual({ auth: "jwt" });
  });

  test("a lost connection is opened again and resumes from the last commit point", async () => {
    client = clientOn();
    const heard: unknown[] = [];
    client.subscribe("run_update", (payload) => heard.push(payload));
    await settle();
    FakeSocket.last.open().answer().says(event(1), point("c1", 1));
    FakeSocket.last.lose();
    await vi.advanceTimersByTimeAsync(250);
    FakeSocket.last.open();
    expect(FakeSocket.last.sent).toEqual([{ subscribe: ["run_update"], since: "c1", ref: 2 }]);
    FakeSocket.last.says(event(2), subscribed(2, "c2", 1));
    expect(heard).toEqual([1, 2]);
    expect(client.position()).toBe("c2");
  });

  test("what a socket says after the client gave it up is not heard", async () => {
    client = clientOn();
    const heard: unknown[] = [];
    client.subscribe("run_update", (payload) => heard.push(payload));
    await settle();
    const old = FakeSocket.last.open().answer();
    client.reconnect();
    expect(old.closed).toBe(1000);
    old.says(event(1), point("c1", 1));
    old.lose();
    await settle();
    expect(heard).toEqual([]);
    expect(FakeSocket.opened).toHaveLength(2);
    expect(client.connection.get().status).toBe("connecting");
  });

  test.each(["online", "pageshow", "visibilitychange"])("%s ends the wait, unless the page is hidden", async (type) => {
    const page = Object.assign(new EventTarget(), { document: { hidden: true } });
    vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
    vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
    vi.stubGlobal("document", page.document);
    vi.spyOn(Math, "random").mockReturnValue(1);
    client = clientOn();
    client.subscribe("run_update", () => undefined);
    await settle();
    FakeSocket.last.lose();
    page.dispatchEvent(new Event(type));
    await settle();
    expect(FakeSocket.opened).toHaveLength(1);
    page.document.hidden = false;
    page.dispatchEvent(new Event(type));
    await settle();
    expect(FakeSocket.opened).toHaveLength(2);
    const removed = vi.fn();
    vi.stubGlobal("removeEventListener", removed);
    client.close();
    expect(removed.mock.calls.map(([name]) => name as unknown)).toContain(type);
  });
});

describe("handlers", () => {
  test("an exception in one stops neither the others, nor the rest of the group, nor the client", async () => {
    const onError = vi.fn();
    const heard: unknown[] = [];
    client = clientOn({ onError });
    client.subscribe("run_update", () => {
      throw new Error("mine");
    });
    client.subscribe("run_update", (payload) => heard.push(payload));
    await settle();
    FakeSocket.last.open().answer().says(event(1), event(2), point("c1", 2), event(3), point("c2", 1));
    expect(heard).toEqual([1, 2, 3]);
    expect(onError.mock.calls).toEqual(Array(3).fill([new Error("mine")]));
  });

  test("an exception in onError itself stops nothing either", async () => {
    client = clientOn({
      onError: () => {
        throw new Error("also mine");
      },
    });
    const heard: unknown[] = [];
    client.subscribe("run_update", (payload) => {
      heard.push(payload);
      throw new Error("mine");
    });
    await settle();
    FakeSocket.last.open().answer().says(event(1), point("c1", 1), event(2), point("c2", 1));
    expect(heard).toEqual([1, 2]);
  });

  test("a whole group reaches all handlers before anything else runs", async () => {
    client = clientOn();
    const heard: string[] = [];
    client.subscribe("run_update", (payload) => {
      heard.push(`a${String(payload)}`);
      queueMicrotask(() => heard.push("microtask"));
    });
    client.subscribe("system", (payload) => heard.push(`b${String(payload)}`));
    await settle();
    FakeSocket.last.open().answer().says(event(1), event(2, "system"), event(3), point("c1", 3));
    expect(heard).toEqual(["a1", "b2", "a3"]);
  });

  test("what handlers start is carried out after the group, in order", async () => {
    client = clientOn();
    const order: string[] = [];
    const onFresh = (fresh: boolean) => void order.push(fresh ? "fresh" : "stale");
    client.subscribe("run_update", () => void client?.subscribe("system", () => undefined));
    client.subscribe("run_update", () => void order.push("heard"), { onFresh });
    await settle();
    FakeSocket.last.open().answer();
    await vi.advanceTimersByTimeAsync(20_000);
    FakeSocket.last.says(event(1), point("c1", 1));
    expect(order).toEqual(["fresh", "stale", "heard", "fresh"]);
  });

  test("one that is unsubscribed in the middle of a group hears no more of it", async () => {
    client = clientOn();
    const heard: unknown[] = [];
    client.subscribe("run_update", () => stop());
    const stop = client.subscribe("run_update", (payload) => heard.push(payload));
    await settle();
    FakeSocket.last.open().answer().says(event(1), event(2), point("c1", 2));
    expect(heard).toEqual([]);
  });

  test("one that is unsubscribed while it catches up is not told that it has", async () => {
    client = clientOn();
    const told: unknown[] = [];
    const stop = client.subscribe("run_update", () => stop(), { since: "c0", onFresh: (fresh) => told.push(fresh) });
    await settle();
    FakeSocket.last.open(event(1), subscribed(1, "c1", 1));
    expect(told).toEqual([]);
  });

  test("one that is subscribed in the middle of a group hears the next", async () => {
    client = clientOn();
    const heard: unknown[] = [];
    let subscribedLate = false;
    client.subscribe("run_update", () => {
      if (!subscribedLate) client?.subscribe("run_update", (payload) => heard.push(payload));
      subscribedLate = true;
    });
    await settle();
    FakeSocket.last.open().answer().says(event(1), event(2), point("c1", 2), event(3), point("c2", 1));
    expect(heard).toEqual([3]);
  });

  test("a reset and a refusal go to the subscription's own callbacks, or else to onError", async () => {
    const onError = vi.fn<(error: unknown) => void>();
    const mine: (RealtimeError | boolean)[] = [];
    const note = (news: RealtimeError | boolean) => void mine.push(news);
    client = clientOn({ onError });
    client.subscribe("run_update", () => undefined, { since: "old", onReset: note, onFresh: note });
    client.subscribe("run_update", () => undefined, { since: "older" });
    client.subscribe("runz.1", () => undefined, { onError: note });
    client.subscribe("runz.2", () => undefined);
    await settle();
    FakeSocket.last.open(reset("c1", 1), reset("c1", 2), refusal(3, "runz.1"), refusal(3, "runz.2"));
    expect(mine).toMatchObject([{ code: "expired", channel: "run_update" }, true, { code: "forbidden", channel: "runz.1" }]);
    expect(onError.mock.calls).toMatchObject([[{ code: "expired" }], [{ code: "forbidden", channel: "runz.2" }]]);
  });
});

describe("settled", () => {
  test("resolves when the server has delivered the transaction, after the handlers have run", async () => {
    client = clientOn();
    const heard: unknown[] = [];
    client.subscribe("run_update", (payload) => heard.push(payload));
    await settle();
    FakeSocket.last.open().answer();
    const done = client.settled(757n).then(() => heard.push("settled"));
    void client.settled("757").then(() => heard.push("also"));
    FakeSocket.last.says(event(1), point("c1", 1), { settled: "757", cursor: "c1" });
    await done;
    expect(heard).toEqual([1, "settled", "also"]);
  });

  test("rejects what is no transaction, and whatever was asked when the client stops", async () => {
    client = clientOn({ onError: () => undefined });
    for (const none of ["soon", "", " ", "-1", -1, 1.5, NaN, Infinity, 2n ** 63n, null, undefined, {}, [], "1e3", "7;"])
      await expect(client.settled(none as string), typeof none).rejects.toThrow(/./);
    expect(client.connection.get()).toMatchObject({ status: "connecting", since: 0 });
    const waiting = client.settled(757);
    await settle();
    FakeSocket.last.open().lose(4500);
    await expect(waiting).rejects.toMatchObject({ name: "RealtimeError", code: "stopped" });
  });
});

describe("the connection store", () => {
  test("tells its listeners of changes only, and is the same object between them", async () => {
    client = clientOn();
    const seen: string[] = [];
    const { connection } = client;
    const stop = connection.subscribe(() => seen.push(`${connection.get().status} ${String(connection.get().fresh)}`));
    client.subscribe("run_update", () => undefined);
    await settle();
    FakeSocket.last.open().answer();
    const open = connection.get();
    FakeSocket.last.says(event(1), point("c1", 1));
    expect(connection.get()).toBe(open);
    FakeSocket.last.lose();
    stop();
    client.close();
    expect(seen).toEqual(["open false", "open true", "waiting false"]);
  });

  test("close() ends the socket, every subscription and every timer", async () => {
    client = clientOn();
    const heard: unknown[] = [];
    const stop = client.subscribe("run_update", (payload) => heard.push(payload));
    await settle();
    const socket = FakeSocket.last.open().answer();
    client.close();
    stop();
    expect(socket.closed).toBe(1000);
    expect(client.connection.get()).toMatchObject({ status: "stopped", code: undefined });
    expect(vi.getTimerCount()).toBe(0);
    client.subscribe("run_update", (payload) => heard.push(payload));
    await settle();
    FakeSocket.last.open(hello("d0")).answer("d0").says(event(1), point("d1", 1));
    expect(heard).toEqual([1]);
  });

  test("a token that was being fetched at close() is not used by whoever comes next", async () => {
    const tokens = ["ada", "bob"];
    const waiting: (() => void)[] = [];
    const token = () => new Promise<string>((resolve) => waiting.push(() => resolve(tokens.shift() ?? "")));
    client = clientOn({ token });
    client.subscribe("run_update", () => undefined);
    client.close();
    client.subscribe("run_update", () => undefined);
    for (const resolve of waiting) resolve();
    await settle();
    expect(FakeSocket.opened).toHaveLength(1);
    expect(FakeSocket.last.open().sent[0]).toEqual({ auth: "bob" });
  });
});
