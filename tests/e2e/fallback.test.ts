/** Where no WebSocket comes through: the same promises, over Server-Sent Events. */
import { readFileSync } from "node:fs";
import type { Browser } from "playwright-core";
import ts from "typescript";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type Gatekeeper, type Holding, type Manner, startBehindGatekeeper } from "./gatekeeper.js";
import { expectInOrder, open, Program, psql, root, startBrowser, startServer } from "./harness.js";
import type { Seen } from "./page/main.js";

let dsn: string;
let server: Program;
let behind: number;
let port: number;
let gatekeeper: Gatekeeper;
let close: () => Promise<void>;
let address: string;
let browser: Browser;

beforeAll(async () => {
  [{ dsn, address, server, behind, gatekeeper, port, close }, browser] = await Promise.all([startBehindGatekeeper(), startBrowser()]);
});

afterAll(async () => {
  await browser.close();
  await server.stop();
  await close();
});

beforeEach(() => {
  gatekeeper.manner = "refuses";
  gatekeeper.holds = "nothing";
});

const visit = async (options = "") => {
  const { page, errors } = await open(browser, `${address}?fallback${options}&ws=ws://127.0.0.1:${port}/realtime`);
  await page.getByText("open fresh").waitFor();
  return {
    page,
    errors,
    seen: () => page.evaluate((): Seen => window.seen),
    rows: (fits: string) => page.waitForFunction((text) => window.seen.renders.at(-1)?.includes(text), fits),
  };
};

test("a page whose WebSockets are refused is told all the same, and a transaction renders once", async () => {
  const { page, errors, seen, rows } = await visit();
  expect(gatekeeper.passed).toBe(0);
  expect(gatekeeper.refused).toBeGreaterThan(0);
  const before = (await seen()).renders.length;
  await psql(dsn, "begin; update items set version = 101 where id = 1; update items set version = 102 where id = 2; commit");
  await rows('"2":102');
  expect((await seen()).renders.slice(before)).toEqual(['{"1":101,"2":102}']);
  const toggle = page.getByRole("button", { name: "toggle" });
  await toggle.click();
  await toggle.click();
  await psql(dsn, "update items set version = 103 where id = 3");
  await rows('"3":103');
  expect(errors).toEqual([]);
  await page.close();
});

test("the server is killed and restarted under 600 commits; the page ends complete, once, in order", async () => {
  await psql(dsn, "update items set version = 0");
  const { page, errors, seen } = await visit();
  const writer = new Program(["-m", "tests.e2e.writer", dsn, "600"]);
  for (const commits of [150, 350]) {
    await writer.until((line) => Number(line) >= commits);
    await server.stop("SIGKILL");
    await writer.until((line) => Number(line) >= commits + 50);
    server = await startServer(dsn, behind);
  }
  await writer.ended();
  await page.waitForFunction(() => window.seen.events.length >= 600);
  await page.getByText("open fresh").waitFor();
  const { events } = await seen();
  expectInOrder(events);
  expect(events).toHaveLength(600);
  expect(gatekeeper.passed).toBe(0);
  expect(errors).toEqual([]);
  await page.close();
});

test("the EventSource of the guide goes on where it was after the server was killed", async () => {
  const guide = readFileSync(`${root}docs/guides/server-sent-events.md`, "utf8");
  const [, snippet = ""] = /```ts title="subscribe.ts"\n(.*?)^```$/ms.exec(guide) ?? [];
  const subscribe = ts.transpile(snippet, { target: ts.ScriptTarget.ES2022 }).replace("export ", "");
  const { page } = await open(browser, address);
  const url = `http://127.0.0.1:${port}/realtime/events?channel=items.5`;
  await page.evaluate(`(() => {
    ${subscribe}
    const received = [];
    subscribe(${JSON.stringify(url)}, ({ payload, subscribed }) => {
      if (payload) received.push(payload.version);
      if (payload ?? subscribed) document.title = "received [" + received + "]";
    });
  })()`);
  const received = (versions: string) => page.waitForFunction((title) => document.title === title, `received [${versions}]`);
  await received("");
  await psql(dsn, "update items set version = 2001 where id = 5");
  await received("2001");
  await server.stop("SIGKILL");
  await psql(dsn, "update items set version = 2002 where id = 5");
  await new Promise((resolve) => setTimeout(resolve, 1_500)); // the first attempt after a second is refused
  server = await startServer(dsn, behind);
  await received("2001,2002");
  await psql(dsn, "update items set version = 2003 where id = 5");
  await received("2001,2002,2003");
  await page.close();
});

test.each<[Manner, string]>([
  ["refuses", ""],
  ["hangs", ""],
  ["swallows", ""],
  ["ends", ""],
  ["hangs", "&token=4000"],
])("a proxy that %s is passed within 3 s after a token (%s), on every visit", async (manner, options) => {
  gatekeeper.manner = manner;
  const { page, errors } = await visit(options);
  for (let visits = 0; visits < (options ? 1 : 3); visits++) {
    expect(await page.evaluate(() => window.seen.liveAfter)).toBeLessThan(3_000);
    expect(errors).toEqual([]);
    await page.reload();
    await page.getByText("open fresh").waitFor();
  }
  expect(gatekeeper.passed).toBe(0);
  await page.close();
});

test.each<Holding>(["bodies", "heads and bodies"])("a proxy that holds %s of streams back is reported, and WebSockets are used as soon as they pass", async (holds) => {
  gatekeeper.holds = holds;
  const { page } = await open(browser, `${address}?fallback&ws=ws://127.0.0.1:${port}/realtime`);
  await page.waitForFunction(() => window.seen.reports.some((report) => report.includes("holds back")));
  gatekeeper.manner = "passes";
  await page.getByText("open fresh").waitFor();
  await page.close();
});

test("once WebSockets come through, the next connection is one", async () => {
  const { page, rows } = await visit();
  await expect.poll(() => gatekeeper.requests).toBe(1);
  gatekeeper.manner = "passes";
  gatekeeper.passed = 0;
  await server.stop();
  server = await startServer(dsn, behind);
  await page.getByText("open fresh").waitFor();
  await psql(dsn, "update items set version = 1001 where id = 4");
  await rows('"4":1001');
  expect(gatekeeper.passed).toBeGreaterThan(0);
  await expect.poll(() => gatekeeper.requests).toBe(0);
  await page.close();
});

// Users of another client stayed without WebSockets after a restart of the server (phoenixframework/phoenix#5741, #6208).
test("after an outage of some seconds a page has a WebSocket again, and the next page begins with one", async () => {
  gatekeeper.manner = "passes";
  const { page } = await visit();
  await server.stop("SIGKILL");
  await page.getByText("stale").waitFor();
  await new Promise((resolve) => setTimeout(resolve, 4_000)); // the outage itself
  gatekeeper.passed = 0;
  server = await startServer(dsn, behind);
  await page.getByText("open fresh").waitFor();
  await expect.poll(() => gatekeeper.requests).toBe(0);
  expect(gatekeeper.passed).toBeGreaterThan(0);
  expect(await page.evaluate(() => Object.keys(sessionStorage))).toEqual([]);
  await page.close();
});
