/** A page that the user leaves and comes back to: the browser keeps it in memory (its back-forward cache), or loads it again. */
import type { Browser } from "playwright-core";
import type { PreviewServer } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Gatekeeper, type Manner } from "./gatekeeper.js";
import { freePort, open, type Program, psql, startBrowser, startPage, startServer, startStage } from "./harness.js";

let stage: Program;
let dsn: string;
let server: Program;
let gatekeeper: Gatekeeper;
let port: number;
let site: PreviewServer;
let address: string;
let browser: Browser;

beforeAll(async () => {
  let behind: number;
  [{ stage, dsn }, { site, address }, browser, behind] = await Promise.all([startStage(), startPage(), startBrowser(), freePort()]);
  server = await startServer(dsn, behind);
  ({ gatekeeper, port } = await Gatekeeper.before(behind));
});

afterAll(async () => {
  gatekeeper.close();
  await browser.close();
  await site.close();
  await server.stop();
  await stage.stop();
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
