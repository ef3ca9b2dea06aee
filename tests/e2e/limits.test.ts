/** Names and limits, in a page and against a real server: each subscription has its own answer. */
import type { Server } from "node:http";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { createClient } from "../../packages/realtime/src/index.js";
import { freePort, open, type Program, psql, startBarePage, startBrowser, startServer, startStage } from "./harness.js";

let stage: Program;
let dsn: string;
let server: Program;
let url: string;
let site: Server;
let address: string;
let browser: Browser;

beforeAll(async () => {
  let port: number;
  [{ stage, dsn }, { site, address }, port, browser] = await Promise.all([startStage(), startBarePage(), freePort(), startBrowser()]);
  server = await startServer(dsn, port, "tests.e2e.small:realtime");
  url = `ws://127.0.0.1:${port}/realtime`;
});
afterAll(async () => {
  await browser.close();
  site.close();
  await server.stop();
  await stage.stop();
});

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => `items.${from + n}`);

/** A page with a client, and what its subscriptions have received. */
const connect = async () => {
  const { page, errors } = await open(browser, address);
  onTestFinished(() => page.close());
  await page.evaluate((url) => window.bare.connect(url, null), url);
  const seen = () => page.evaluate(() => window.bare.seen());
  const subscribe = (names: readonly string[]) => page.evaluate((names) => names.forEach((name) => window.bare.subscribe(name)), names);
  const leave = (names: readonly string[]) => page.evaluate((names) => names.forEach((name) => window.bare.leave(name)), names);
  const count = async (what: string) => Object.values((await seen()).news).filter((one) => one === what).length;
  return { page, errors, seen, subscribe, leave, count };
};

test("bad names, unknown ones and one too many harm no other in the same tick", async () => {
  const { page, errors, seen, count } = await connect();
  const unknown = ["nothing.1", `${"n".repeat(48)}.${"i".repeat(64)}`];
  const begin = ([unknown, good]: readonly [readonly string[], readonly string[]]) => {
    const bad = [undefined, null, 7, "", {}, "Items.1", `items.${"7".repeat(65)}`];
    for (const [n, name] of bad.entries()) window.bare.subscribe(name, `bad ${n}`);
    for (const name of [...unknown, ...good]) window.bare.subscribe(name);
    return bad.length;
  };
  const bad = await page.evaluate(begin, [unknown, range(0, 9)] as const); // the server allows 8
  await expect.poll(async () => [await count("live"), await count("")]).toEqual([8, 0]);
  const { news, status, fresh, reports } = await seen();
  expect(Array.from({ length: bad }, (_, n) => news[`bad ${n}`])).toEqual(Array(bad).fill("bad_channel"));
  expect(unknown.map((name) => news[name])).toEqual(["forbidden", "forbidden"]);
  expect(news["items.8"]).toBe("limit_exceeded");
  expect([status, fresh, reports, errors]).toEqual(["open", true, [], []]);
});

test("a page of as many channels as there may be is left for another such page at once", async () => {
  const { page, seen, subscribe, leave, count } = await connect();
  await subscribe(range(0, 8));
  await expect.poll(() => count("live")).toBe(8);
  const turn = ([old, next]: readonly [readonly string[], readonly string[]]) => {
    for (const name of old) window.bare.leave(name);
    for (const name of next) window.bare.subscribe(name);
    const began = performance.now();
    const isLive = () => next.every((name) => window.bare.seen().news[name] === "live");
    return new Promise<number>((resolve) => {
      const look = () => (isLive() ? resolve(performance.now() - began) : setTimeout(look, 10));
      look();
    });
  };
  expect(await page.evaluate(turn, [range(0, 8), range(100, 108)] as const)).toBeLessThan(900); // the channels linger for a second
  await page.evaluate(() => window.bare.subscribe("items.100", "second handler"));
  await subscribe(["items.200"]);
  await expect.poll(async () => (await seen()).news["items.200"]).toBe("limit_exceeded");
  await leave(["second handler"]);
  expect((await seen()).news["items.200"]).toBe("limit_exceeded");
});

test("what was refused for want of room is live as soon as another leaves", async () => {
  const { subscribe, leave, count } = await connect();
  await subscribe(range(0, 10));
  await expect.poll(() => count("limit_exceeded")).toBe(2);
  await leave(range(0, 2));
  await expect.poll(() => count("live")).toBe(8);
});

test("a token for a server that wants none is asked for once more, and stops the client once, with the cause", async () => {
  const { page, seen } = await connect();
  await page.evaluate((url) => window.bare.connect(url, ["a token"]), url);
  await page.evaluate(() => window.bare.subscribe("item_update"));
  await expect.poll(async () => (await seen()).status).toBe("stopped");
  expect(await seen()).toMatchObject({ calls: 2, reports: [expect.stringMatching(/\(4500\): invalid token.*none is wanted/)] });
});

const TRANSACTIONS = 120;
/** Commit so many transactions; `settle` gets the id of the first one before. */
const commitAll = async (settle: (first: number) => unknown) => {
  await settle(Number(await psql(dsn, "select pg_current_xact_id()")) + 1);
  for (let round = 0; round < 6; round++) await psql(dsn, "begin; update items set version = version + 1 where id = 1; commit; ".repeat(TRANSACTIONS / 6));
};

test("far more transactions than may wait all settle, also those that commit last", async () => {
  const { page, seen, subscribe, count } = await connect();
  await subscribe(["item_update"]);
  await expect.poll(() => count("live")).toBe(1);
  await commitAll((first) => page.evaluate(([first, count]) => window.bare.settle(first, count), [first, TRANSACTIONS] as const));
  await expect.poll(async () => (await seen()).settled).toBe(TRANSACTIONS);
});

test("in Node they settle, too", async () => {
  const client = createClient({ url });
  onTestFinished(client.close);
  const all: Promise<void>[] = [];
  await commitAll((first) => all.push(...Array.from({ length: TRANSACTIONS }, (_, n) => client.settled(first + n))));
  await Promise.all(all);
  expect(client.connection.get()).toMatchObject({ status: "open", fresh: true });
});
