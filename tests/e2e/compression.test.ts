/** Compression in a browser: what is long takes few bytes on the wire, and is the same in the page. */
import type { Browser } from "playwright-core";
import type { PreviewServer } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort, open, type Program, psql, startBrowser, startPage, startServer, startStage } from "./harness.js";
import type { Item } from "./page/main.js";
import { CountedWire } from "./wire.js";

const EVENTS = 50;
const WORDS = "compression is for what is long and repeats ".repeat(60);

let stage: Program;
let dsn: string;
let server: Program;
let site: PreviewServer;
let address: string;
let browser: Browser;
let wire: CountedWire;

beforeAll(async () => {
  let port;
  [{ stage, dsn }, { site, address }, browser, port] = await Promise.all([startStage(), startPage(), startBrowser(), freePort()]);
  server = await startServer(dsn, port, "tests.e2e.compressed:realtime");
  wire = await CountedWire.start(port);
});

afterAll(async () => {
  await browser.close();
  await wire.stop();
  await site.close();
  await server.stop();
  await stage.stop();
});

test("a browser agrees on compression, and gets long events and short ones as they were sent", async () => {
  const url = `ws://127.0.0.1:${wire.port}/realtime`;
  const { page, errors } = await open(browser, `${address}?ws=${url}`);
  await page.getByText("open fresh").waitFor();
  const agreed = await page.evaluate(
    (to) =>
      new Promise<string>((resolve, reject) => {
        const socket = new WebSocket(to);
        socket.onopen = () => {
          resolve(socket.extensions);
          socket.close();
        };
        socket.onerror = () => reject(new Error("no connection"));
      }),
    url,
  );
  expect(agreed).toMatch(/^permessage-deflate\b/);

  const before = wire.received;
  await psql(
    dsn,
    `select count(flowcraft.broadcast('item_update', json_build_object('type', 'ItemUpdate', 'item_id', 7, 'version', n,
       'words', case when n % 2 = 0 then '${WORDS}' else 'short' end))) from generate_series(1, ${EVENTS}) as n`,
  );
  const events = () => page.evaluate(() => window.seen.events as (Item & { readonly words: string })[]);
  await expect.poll(async () => (await events()).length).toBe(EVENTS);
  expect(await events()).toEqual(
    Array.from({ length: EVENTS }, (_, n) => ({
      type: "ItemUpdate",
      item_id: 7,
      version: n + 1,
      words: (n + 1) % 2 === 0 ? WORDS : "short",
    })),
  );
  const long = (EVENTS / 2) * WORDS.length;
  expect(wire.received - before).toBeLessThan(long / 3);
  expect(errors).toEqual([]);
});
