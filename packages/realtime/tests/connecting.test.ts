/** The steps of a connection: address, token, socket, first message; each with its own time and its own error. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { type Client, type ClientOptions, createClient } from "../src/index.js";
import { clientOn, FakeSocket, fakeTime, settle } from "./socket.js";

let client: Client | undefined;

fakeTime(() => client);
afterEach(() => {
  vi.doUnmock("../src/fallback.js");
});

const begin = async (options: ClientOptions) => {
  const onError = vi.fn<(error: unknown) => void>();
  client = clientOn({ onError, ...options });
  client.subscribe("run_update", () => undefined);
  await settle();
  return { onError, status: () => client?.connection.get().status };
};

describe("token()", () => {
  test.each([[""], [null], [undefined]])("returns %j: the client connects without a token", async (token) => {
    const { onError } = await begin({ token: () => token });
    FakeSocket.last.open().answer();
    expect(FakeSocket.last.sent).toEqual([{ subscribe: ["run_update"], ref: 1 }]);
    expect(onError).not.toHaveBeenCalled();
  });

  test.each([[7], [0], [{}], [true], [["jwt"]]])("returns %j: reported with its type, and asked again until it is a string", async (token) => {
    const tokens: unknown[] = [token];
    const { onError } = await begin({ token: () => (tokens.shift() ?? "jwt") as string });
    expect(onError.mock.calls).toMatchObject([[{ name: "TypeError", message: expect.stringContaining(typeof token) as string }]]);
    await vi.advanceTimersByTimeAsync(250);
    expect(FakeSocket.last.open().sent[0]).toEqual({ auth: "jwt" });
  });

  test("throws at once: reported and called again", async () => {
    const token = vi.fn<() => string>().mockImplementationOnce(() => {
      throw new Error("signed out");
    });
    const { onError } = await begin({ token: token.mockReturnValue("jwt") });
    expect(onError).toHaveBeenCalledExactlyOnceWith(new Error("signed out"));
    await vi.advanceTimersByTimeAsync(250);
    expect(FakeSocket.last.open().sent[0]).toEqual({ auth: "jwt" });
  });

  test("never settles: reported after 20 s and called again; a late result is not used", async () => {
    const results: ((token: string) => void)[] = [];
    const { onError } = await begin({ token: () => new Promise((resolve) => results.push(resolve)) });
    await vi.advanceTimersByTimeAsync(20_250);
    expect(onError.mock.calls).toMatchObject([[{ code: "token_timeout" }]]);
    expect(results).toHaveLength(2);
    results[0]?.("late");
    await settle();
    expect(FakeSocket.opened).toHaveLength(0);
    results[1]?.("jwt");
    await settle();
    expect(FakeSocket.last.open().sent[0]).toEqual({ auth: "jwt" });
  });

  test("never settles: reconnect() calls it again at once", async () => {
    const results: ((token: string) => void)[] = [];
    await begin({ token: () => new Promise((resolve) => results.push(resolve)) });
    client?.reconnect();
    results[1]?.("jwt");
    await settle();
    expect(FakeSocket.last.open().sent[0]).toEqual({ auth: "jwt" });
  });

  test("a slow one leaves the socket all of its time", async () => {
    const { status } = await begin({ token: () => new Promise((resolve) => setTimeout(() => resolve("jwt"), 15_000)) });
    await vi.advanceTimersByTimeAsync(24_000);
    expect(FakeSocket.opened).toHaveLength(1);
    FakeSocket.last.open().answer();
    expect(status()).toBe("open");
  });

  test("is called again before the token expires, and the connection stays; what fails then is reported and tried again", async () => {
    const results = [() => "first", () => Promise.reject(new Error("offline")), () => "second"];
    const { onError, status } = await begin({ token: () => results.shift()?.() ?? "" });
    FakeSocket.last.open({ authenticated: { expires_in: 20 } }).answer();
    await vi.advanceTimersByTimeAsync(16_000);
    FakeSocket.last.says({ cursor: "c0", n: 0, at: "" });
    expect(onError).toHaveBeenCalledExactlyOnceWith(new Error("offline"));
    await vi.advanceTimersByTimeAsync(2_000);
    expect(FakeSocket.last.sent.at(-1)).toEqual({ auth: "second" });
    expect([FakeSocket.opened.length, status()]).toEqual([1, "open"]);
  });

  test("a token for more days than a timer has is not fetched in a loop", async () => {
    const token = vi.fn(() => "jwt");
    await begin({ token });
    FakeSocket.last.open({ authenticated: { expires_in: 365 * 86_400 } }).answer();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(token).toHaveBeenCalledOnce();
  });
});

describe("the address", () => {
  const page = (href: string, origin?: string) => {
    vi.stubGlobal("location", { href });
    vi.stubGlobal("origin", origin);
  };
  const opened = async (url?: string | URL) => {
    const onError = vi.fn<(error: unknown) => void>();
    client = createClient({ WebSocket: FakeSocket, onError, ...(url !== undefined && { url }) });
    client.subscribe("run_update", () => undefined);
    await vi.advanceTimersByTimeAsync(30_000);
    return { urls: FakeSocket.opened.slice(0, 1).map(({ url }) => url), errors: onError.mock.calls.map(([error]) => String(error)) };
  };

  test.each([
    ["a page", "https://a.example/runs/42?x=1", "https://a.example", undefined, "wss://a.example/realtime"],
    ["a worker made from a blob", "blob:https://a.example/uuid", "https://a.example", undefined, "wss://a.example/realtime"],
    ["a frame with srcdoc", "about:srcdoc", "http://a.example", "/live", "ws://a.example/live"],
    ["an empty frame", "about:blank", "https://a.example", "live", "wss://a.example/live"],
    ["a file, with an address", "file:///app/index.html", "null", "wss://b.example/r", "wss://b.example/r"],
    ["an address without a scheme", "https://a.example/", "https://a.example", "//b.example/r", "wss://b.example/r"],
  ])("%s", async (_, href, origin, url, expected) => {
    page(href, origin);
    expect((await opened(url)).urls).toEqual([expected]);
  });

  test.each([
    ["a page from a file, as in Electron", "file:///app/index.html", "null", undefined],
    ["a frame in a sandbox", "about:srcdoc", "null", undefined],
    ["a port without a scheme", "https://a.example/", "https://a.example", "localhost:8400/realtime"],
    ["no scheme of the web", "https://a.example/", "https://a.example", "ftp://a.example/"],
  ])("%s: it stops, and reports once why", async (_, href, origin, url) => {
    page(href, origin);
    const { urls, errors } = await opened(url);
    expect(urls).toEqual([]);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(/createClient\(\{ url|is no address/);
    expect(client?.connection.get().status).toBe("stopped");
  });

  test("React Native's URL is not asked about a complete address", async () => {
    vi.stubGlobal("URL", class { href = "wrong/"; }); // prettier-ignore
    expect((await opened("https://a.example/realtime")).urls).toEqual(["wss://a.example/realtime"]);
  });
});

describe("React Native, where there is no page", () => {
  test("in front again, the client replaces a connection that has died, and resumes", async () => {
    const states = new Set<(state: string) => unknown>();
    const AppState = { addEventListener: (_: "change", listener: (state: string) => unknown) => states.add(listener) };
    for (const name of ["document", "addEventListener", "location", "origin", "EventSource", "sessionStorage"]) vi.stubGlobal(name, undefined);
    const { status } = await begin({ url: "wss://api.example/realtime" });
    AppState.addEventListener("change", (state) => state === "active" && client?.wake());
    FakeSocket.last.open().answer();
    expect(status()).toBe("open");
    for (const listener of states) listener("background");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(FakeSocket.opened).toHaveLength(1);
    for (const listener of states) listener("active");
    await vi.advanceTimersByTimeAsync(5_500); // no sign of life
    expect(FakeSocket.opened).toHaveLength(2);
    expect(FakeSocket.last.open().sent).toMatchObject([{ subscribe: ["run_update"], since: expect.any(String) as string }]);
  });
});

describe("a WebSocket that does not answer", () => {
  const first: unknown[] = [];
  const fallBack = (open: () => void = () => undefined) => {
    first.length = 0;
    vi.doMock("../src/fallback.js", () => ({
      createFallback: (url: string, ...more: unknown[]) => {
        first.push(...more.slice(0, 3));
        open();
        return Object.assign(new FakeSocket(url), { isStream: true });
      },
    }));
    vi.stubGlobal("WebSocket", FakeSocket);
    client = createClient({ url: "wss://flowcraft.example/realtime", token: () => "jwt" });
    client.subscribe("run_update", () => undefined);
  };

  test("an error of the WebSocket that comes late hides no report of a stream that is held back, which is made once", async () => {
    const report = vi.fn<(error: unknown) => void>();
    vi.stubGlobal("reportError", report);
    fallBack();
    await vi.advanceTimersByTimeAsync(1_500);
    await vi.waitUntil(() => FakeSocket.opened.length > 1);
    const [socket, stream] = FakeSocket.opened;
    socket?.onerror?.({});
    for (let n = 0; n < 2; n++) stream?.onerror?.({ message: "a proxy holds back the event stream" });
    expect(report.mock.calls).toMatchObject([[{ code: "stream_held" }]]);
  });

  test.each([["is not open", false], ["is open, but silent", true]])("and %s after 1.5 s: a stream is asked for beside it", async (_, opens) => {
    fallBack();
    await vi.advanceTimersByTimeAsync(1_400);
    const [socket] = FakeSocket.opened;
    if (opens) socket?.onopen?.();
    expect(FakeSocket.opened).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(100);
    await vi.waitUntil(() => FakeSocket.opened.length > 1);
    expect(first).toEqual(["jwt", socket, 0]);
    expect(FakeSocket.last.open().sent[0]).toEqual({ auth: "jwt" });
    expect(client?.connection.get().status).toBe("open");
  }); // prettier-ignore

  test("one that answers in time is used alone", async () => {
    fallBack();
    await settle();
    FakeSocket.last.open().answer();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(FakeSocket.opened).toHaveLength(1);
  });

  test.each([["session storage", true], ["a storage that refuses", false]])("%s is asked whether a page needed a stream before", async (_, works) => {
    const getItem = () => {
      if (works) return "";
      throw new Error("SecurityError");
    };
    vi.stubGlobal("sessionStorage", { getItem });
    fallBack();
    await vi.advanceTimersByTimeAsync(50);
    if (works) await vi.waitUntil(() => FakeSocket.opened.length > 1);
    expect(FakeSocket.opened).toHaveLength(works ? 2 : 1);
    if (works) expect(first[2]).toBe(300);
  }); // prettier-ignore

  test("where there is no WebSocket at all, a stream is used", async () => {
    fallBack();
    vi.stubGlobal("WebSocket", undefined);
    await settle();
    await vi.waitUntil(() => FakeSocket.opened.length > 0);
    expect(first).toEqual(["jwt", undefined, 0]);
  });

  test("close() ends it while the fallback loads", async () => {
    fallBack();
    await vi.advanceTimersByTimeAsync(1_500);
    client?.close();
    await vi.advanceTimersByTimeAsync(1_000);
    await settle();
    expect(FakeSocket.opened.every(({ closed }) => closed !== undefined)).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });
});
