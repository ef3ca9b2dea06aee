/** Pages of two origins in a browser: a listed one may send what it needs and read every answer, the other nothing. */
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort, open, Program, psql, root, startBrowser, startStage } from "./harness.js";

const SECRET = "a secret of at least thirty-two bytes";

let stage: Program;
let dsn: string;
let browser: Browser;
let site: Server;
let listed: string;
let unlisted: string;

beforeAll(async () => {
  [{ stage, dsn }, browser] = await Promise.all([startStage(), startBrowser()]);
  site = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end("<!doctype html><p>a page"));
  site.listen(0, "127.0.0.1");
  await once(site, "listening");
  const { port } = site.address() as AddressInfo;
  listed = `http://127.0.0.1:${port}`;
  unlisted = `http://localhost:${port}`;
});

afterAll(async () => {
  await browser.close();
  site.closeAllConnections();
  site.close();
  await stage.stop();
});

const token = (sub: string): string => {
  const now = Math.floor(Date.now() / 1000);
  const parts = [{ alg: "HS256" }, { sub, iat: now, exp: now + 600 }];
  const text = parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`;
};

const environment = () => ({ DATABASE_URL: dsn, PAGE_ORIGIN: listed, JWT_SECRET: SECRET });
const doors = {
  "flowcraft serve": async (port: number) => {
    const command = `${root}.venv/bin/flowcraft`;
    const args = ["serve", "tests.e2e.listed:realtime", "--port", String(port)];
    const server = new Program(args, { environment: environment(), command });
    await server.until((line) => line.includes(`:${port}/realtime`));
    return server;
  },
  uvicorn: async (port: number) => {
    const server = new Program(["-m", "tests.e2e.on_uvicorn", "tests.e2e.listed:app", String(port)], {
      environment: environment(),
    });
    await server.until((line) => line.includes("listening"));
    return server;
  },
};

/** What a page gets from `fetch`: the status, headers that it can read, and the first part of the body. */
type Read = { status: number; retry: string | null; text: string } | { error: string };
const fetched = (page: Page, url: string, options: RequestInit = {}): Promise<Read> =>
  page.evaluate(
    async ([address, init]): Promise<Read> => {
      try {
        const response = await fetch(address, init);
        const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
        let text = "";
        for (let done = false; !done && !text.includes('"cursor"}') && !text.includes('"n":'); ) {
          const part = await reader?.read();
          done = part?.done ?? true;
          text += part?.value ?? "";
        }
        void reader?.cancel();
        return { status: response.status, retry: response.headers.get("Retry-After"), text };
      } catch (error) {
        return { error: String(error) };
      }
    },
    [url, options] as const,
  );

/** Open an EventSource with credentials; the page's title lists the versions that it has received. */
const subscribe = (page: Page, url: string) =>
  page.evaluate((address) => {
    const received: number[] = [];
    const source = new EventSource(address, { withCredentials: true });
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) document.title = "refused";
    };
    source.onmessage = ({ data }: MessageEvent<string>) => {
      const frame = JSON.parse(data) as { payload?: { version: number }; subscribed?: unknown };
      if (frame.payload) received.push(frame.payload.version);
      if (frame.payload ?? frame.subscribed) document.title = `received [${received.join()}]`;
    };
  }, url);
const containing = (text: string) => expect.stringContaining(text) as string;
const titled = (page: Page, title: string) => page.waitForFunction((text) => document.title === text, title);
const broadcast = (version: number) =>
  psql(dsn, `select flowcraft.broadcast('item_update', '{"type":"ItemUpdate","item_id":1,"version":${version}}')`);

describe.each(Object.entries(doors))("%s", (_, start) => {
  let port: number;
  let server: Program;
  let events: string;

  beforeAll(async () => {
    port = await freePort();
    server = await start(port);
    events = `http://127.0.0.1:${port}/realtime/events`;
  });

  afterAll(() => server.stop());

  test("an EventSource with credentials of a listed origin receives, and resumes after the server was killed", async () => {
    const { page } = await open(browser, listed);
    await subscribe(page, `${events}?channel=item_update`);
    await titled(page, "received []");
    await broadcast(1);
    await titled(page, "received [1]");
    await server.stop("SIGKILL");
    await broadcast(2);
    server = await start(port);
    await titled(page, "received [1,2]");
    await page.close();
  });

  test("fetch of a listed origin sends Authorization and Last-Event-ID with credentials, by GET and by POST", async () => {
    const { page, errors } = await open(browser, listed);
    const authorized = { Authorization: `Bearer ${token("ada")}` };
    const url = `${events}?channel=private.ada`;
    const first = await fetched(page, url, { headers: authorized, credentials: "include" });
    expect(first).toMatchObject({ status: 200, text: containing('"subscribed":["private.ada"]') });
    const cursor = /id: (.+)/.exec("text" in first ? first.text : "")?.[1] ?? "";
    const resumed = await fetched(page, url, {
      headers: { ...authorized, "Last-Event-ID": cursor, "Cache-Control": "no-cache" },
      credentials: "include",
    });
    expect(resumed).toMatchObject({ status: 200, text: containing('"subscribed":["private.ada"]') });
    const posted = await fetched(page, events, {
      method: "POST",
      headers: { ...authorized, "Content-Type": "application/json" },
      body: '{"subscribe":["private.ada"]}',
    });
    expect(posted).toMatchObject({ status: 200, text: containing('"subscribed":["private.ada"]') });
    expect(errors).toEqual([]);
    await page.close();
  });

  test("a page of a listed origin reads why a request is refused", async () => {
    const { page } = await open(browser, listed);
    const read = async (query: string, options?: RequestInit) => fetched(page, `${events}${query}`, options);
    expect(await read("?channel=item_update&token=x")).toMatchObject({ status: 400, text: containing("'token' in the URL") });
    expect(await read("")).toMatchObject({ status: 400, text: containing("expected channels") });
    expect(await read("", { method: "POST", body: "x".repeat(300_000) })).toMatchObject({ status: 413, text: containing("content too large") });
    expect(await read(`?channel=item_update&since=${"1".repeat(8180)}`)).toMatchObject({ status: 414, text: containing("URI too long") });
    await page.close();
  });

  test("a page of another origin reads nothing and connects nowhere", async () => {
    const { page } = await open(browser, unlisted);
    const url = `${events}?channel=item_update`;
    expect(await fetched(page, url)).toEqual({ error: containing("TypeError") });
    expect(await fetched(page, url, { headers: { Authorization: "Bearer x" } })).toEqual({ error: containing("TypeError") });
    await subscribe(page, url);
    await titled(page, "refused");
    const opened = await page.evaluate(
      (address) =>
        new Promise((resolve) => {
          const socket = new WebSocket(address);
          socket.onopen = () => resolve(true);
          socket.onclose = () => resolve(false);
        }),
      `ws://127.0.0.1:${port}/realtime`,
    );
    expect(opened).toBe(false);
    await page.close();
  });
});
