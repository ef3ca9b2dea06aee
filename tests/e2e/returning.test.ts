/** A page that the user leaves and comes back to: the browser keeps it in memory (its back-forward cache), or loads it again. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Gatekeeper, type Manner, startBehindGatekeeper } from "./gatekeeper.js";
import { open, type Program, psql, startBrowser } from "./harness.js";

let dsn: string;
let server: Program;
let gatekeeper: Gatekeeper;
let port: number;
let close: () => Promise<void>;
let address: string;
let browser: Browser;

beforeAll(async () => {
  [{ dsn, address, server, gatekeeper, port, close }, browser] = await Promise.all([startBehindGatekeeper(), startBrowser()]);
});

afterAll(async () => {
  await browser.close();
  await server.stop();
  await close();
});

test.each<Manner>(["passes", "refuses"])("behind a proxy that %s WebSockets it is fresh again and has each event once, also those of meanwhile if it was kept", async (manner) => {
  gatekeeper.manner = manner;
  await psql(dsn, "update items set version = 0");
  const { page, errors } = await open(browser, `${address}?fallback&ws=ws://127.0.0.1:${port}/realtime`);
  await page.getByText("open fresh").waitFor();
  const versions = (expected: number) =>
    page.waitForFunction((version) => window.seen.events.at(-1)?.version === version, expected);
  await psql(dsn, "update items set version = 1 where id = 1");
  await versions(1);
  await page.goto(`${address}?away`);
  await psql(dsn, "update items set version = 2 where id = 1");
  await page.evaluate(() => void setTimeout(() => history.back(), 50));
  await page.waitForFunction(() => !location.search.includes("away"));
  await page.getByText("open fresh").waitFor();
  await psql(dsn, "update items set version = 3 where id = 1");
  await versions(3);
  const events = await page.evaluate(() => window.seen.events.map(({ version }) => version));
  expect([[1, 2, 3], [3]]).toContainEqual(events);
  expect(errors).toEqual([]);
  await page.close();
});
