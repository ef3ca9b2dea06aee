/** Tokens, in a page and against a server that wants them: what passes by itself heals, and what does not is reported once. */
import type { Server } from "node:http";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, test, type TestContext } from "vitest";
import { freePort, open, type Program, startBarePage, startBrowser, startServer, startStage } from "./harness.js";
import type { Signed } from "./page/bare.js";

let stage: Program;
let server: Program;
let url: string;
let site: Server;
let address: string;
let browser: Browser;

beforeAll(async () => {
  const [{ stage: program, dsn }, page, port, started] = await Promise.all([startStage(), startBarePage(), freePort(), startBrowser()]);
  [stage, { site, address }, browser] = [program, page, started];
  server = await startServer(dsn, port, "tests.e2e.guarded:realtime");
  url = `ws://127.0.0.1:${port}/realtime`;
});
afterAll(async () => {
  await browser.close();
  site.close();
  await server.stop();
  await stage.stop();
});

type Tokens = readonly (Signed | string | null)[] | null;
const GOOD: Signed = { seconds: 60 };
const UNKNOWN: Signed = { ...GOOD, secret: "another secret of thirty-two char" };

/** A page with a client; returns a function that reads it. */
const connect = async ({ onTestFinished }: TestContext, tokens: Tokens) => {
  const { page } = await open(browser, address);
  onTestFinished(() => page.close());
  const begin = ([url, tokens]: readonly [string, Tokens]) => {
    window.bare.connect(url, tokens);
    window.bare.subscribe("item_update");
  };
  await page.evaluate(begin, [url, tokens] as const);
  return () => page.evaluate(() => window.bare.seen());
};
const within = { timeout: 30_000 };

// Alone: in a tab behind others a timer is late, and so is the token.
test("a token is renewed on the open connection, which outlives three of them", async (context) => {
  const seen = await connect(context, [{ seconds: 4 }]);
  await context.expect.poll(async () => (await seen()).fresh, within).toBe(true);
  const { sockets } = await seen();
  await context.expect.poll(async () => (await seen()).calls, within).toBeGreaterThan(3);
  context.expect(await seen()).toMatchObject({ fresh: true, attempts: 0, sockets, reports: [] });
});

test.concurrent("a token that is shorter than a heartbeat is replaced again and again, and nothing stops", async (context) => {
  const seen = await connect(context, [{ seconds: 1 }]);
  await context.expect.poll(async () => (await seen()).calls, within).toBeGreaterThan(5);
  await context.expect.poll(async () => (await seen()).fresh, within).toBe(true);
  context.expect((await seen()).reports.filter((report) => !report.includes("token expired"))).toEqual([]);
});

test.concurrent.for<[string, Signed]>([
  ["expired, as from a cache", { seconds: -100 }],
  ["of a clock that is ahead", { seconds: 600, begins: 300 }],
])("a token that is %s is passing: the client goes on until there is a good one", async ([, bad], context) => {
  const seen = await connect(context, [bad, bad, bad, GOOD]);
  await context.expect.poll(async () => (await seen()).fresh, within).toBe(true);
  context.expect(await seen()).toMatchObject({ status: "open", calls: 4 });
});

test.concurrent.for<[string, Signed | null]>([
  ["signed with an old key", UNKNOWN],
  ["missing at first", null],
])("a token that is %s is fetched once more", async ([, bad], context) => {
  const seen = await connect(context, [bad, GOOD]);
  await context.expect.poll(async () => (await seen()).fresh, within).toBe(true);
  context.expect(await seen()).toMatchObject({ calls: 2, reports: [] });
});

test.concurrent.for<[string, Tokens, RegExp]>([
  ["is never valid", [UNKNOWN], /\(4500\): invalid token/],
  ["is missing", null, /\(4501\): (no token in time|a token is required)/],
  ["is never there", [""], /\(4501\): (no token in time|a token is required)/],
])("a token that %s stops the client once, with the cause", async ([, tokens, cause], context) => {
  const seen = await connect(context, tokens);
  await context.expect.poll(async () => (await seen()).status, within).toBe("stopped");
  context.expect((await seen()).reports).toEqual([context.expect.stringMatching(cause)]);
});
