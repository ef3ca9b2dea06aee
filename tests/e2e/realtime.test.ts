/** From a commit to the page, in a real browser: the promises of the README, each as somebody would try them. */
import type { Browser } from "playwright-core";
import type { PreviewServer } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort, open, Program, psql, startBrowser, startPage, startServer, startStage } from "./harness.js";
import type { Item, Seen } from "./page/main.js";

let stage: Program;
let dsn: string;
let server: Program;
let port: number;
let site: PreviewServer;
let address: string;
let browser: Browser;

beforeAll(async () => {
  [{ stage, dsn }, { site, address }, browser, port] = await Promise.all([
    startStage(),
    startPage(),
    startBrowser(),
    freePort(),
  ]);
  server = await startServer(dsn, port);
});

afterAll(async () => {
  await browser.close();
  await site.close();
  await server.stop();
  await stage.stop();
});

const visit = async () => {
  const { page, errors } = await open(browser, `${address}?ws=ws://127.0.0.1:${port}/realtime`);
  await page.getByText("open fresh").waitFor();
  return {
    page,
    errors,
    seen: () => page.evaluate((): Seen => window.seen),
    rows: (fits: string) => page.waitForFunction((text) => window.seen.renders.at(-1)?.includes(text), fits),
    leave: () => page.close(),
  };
};

const state = async (): Promise<Record<string, number>> =>
  JSON.parse(await psql(dsn, "select json_object_agg(id, version) from items")) as Record<string, number>;

test("an UPDATE in psql changes the page", async () => {
  const { page, errors, rows, leave } = await visit();
  await psql(dsn, "update items set version = 100 where id = 1");
  await rows('"1":100');
  expect(await page.getByTestId("rows").textContent()).toBe('{"1":100}');
  expect(errors).toEqual([]);
  await leave();
});

test("one transaction that touches three rows, in three statements, renders once", async () => {
  const { seen, rows, leave } = await visit();
  const before = (await seen()).renders.length;
  await psql(
    dsn,
    `begin; update items set version = 201 where id = 1; update items set version = 202 where id = 2;
     update items set version = 203 where id = 3; commit`,
  );
  await rows('"3":203');
  expect((await seen()).renders.slice(before)).toEqual(['{"1":201,"2":202,"3":203}']);
  await leave();
});

test("a row that is deleted leaves the page, and an event that does not fit is named", async () => {
  const { page, seen, rows, leave } = await visit();
  await psql(dsn, "update items set version = 900 where id in (1, 2)");
  await rows('"2":900');
  await psql(
    dsn,
    `begin; delete from items where id = 1; select flowcraft.broadcast('item_update', '{"item_id":"x"}'); commit`,
  );
  await page.waitForFunction(() => window.seen.others.length === 2);
  expect((await seen()).others).toEqual([{ item_id: 1 }, "payload_invalid"]);
  // Its state is loaded again, from then on: an insert before that would be in the state, were it not an empty one.
  await page.getByText("{}", { exact: true }).waitFor();
  await psql(dsn, "insert into items (id, version) values (1, 901)");
  await rows('"1":901');
  await leave();
});

test("a transaction that rolls back is never seen", async () => {
  const { seen, rows, leave } = await visit();
  await psql(dsn, "begin; update items set version = 666 where id = 4; rollback");
  await psql(dsn, "update items set version = 301 where id = 5");
  await rows('"5":301');
  expect((await seen()).events).toEqual([{ type: "ItemUpdate", item_id: 5, version: 301 }]);
  await leave();
});

test("ten components hold one socket in StrictMode, and still one after they left and came back", async () => {
  const { page, seen, rows, leave } = await visit();
  const toggle = page.getByRole("button", { name: "toggle" });
  await toggle.click();
  await toggle.click();
  await psql(dsn, "update items set version = 401 where id = 1");
  await rows('"1":401');
  const { sockets, perComponent } = await seen();
  expect(sockets).toEqual({ opened: 1, open: 1 });
  expect(perComponent).toEqual(Array<number>(10).fill(1));
  await leave();
});

test("a plain WebSocket of the original shape gets channel and payload", async () => {
  const { page, leave } = await visit();
  const received = page.evaluate(
    async (url) =>
      new Promise((resolve) => {
        const socket = new WebSocket(url);
        const events: unknown[] = [];
        socket.onmessage = (message: MessageEvent<string>) => {
          const frame = JSON.parse(message.data) as Record<string, unknown>;
          if ("subscribed" in frame) document.title = "plain client is live";
          if ("channel" in frame) events.push({ channel: frame["channel"], payload: frame["payload"] });
          if (events.length === 2) resolve(events);
        };
      }),
    `ws://127.0.0.1:${port}/realtime?channel=item_update&channel=items.2`,
  );
  await page.waitForFunction(() => document.title === "plain client is live");
  await psql(dsn, "update items set version = 501 where id = 2");
  const payload = { type: "ItemUpdate", item_id: 2, version: 501 };
  expect(await received).toEqual(
    expect.arrayContaining([
      { channel: "item_update", payload },
      { channel: "items.2", payload },
    ]),
  );
  await leave();
});

test("the server is killed and restarted three times under 1,000 commits; the page ends complete, once, in order", async () => {
  await psql(dsn, "update items set version = 0");
  const { page, errors, seen, leave } = await visit();
  const writer = new Program(["-m", "tests.e2e.writer", dsn, "1000"]);
  for (const commits of [250, 500, 750]) {
    await writer.until((line) => Number(line) >= commits);
    const { opened } = (await seen()).sockets;
    await server.stop("SIGKILL");
    await writer.until((line) => Number(line) >= commits + 50);
    server = await startServer(dsn, port);
    // The writer is quick: a server that is killed before the page has come back would be no further interruption.
    await expect.poll(async () => (await seen()).sockets.opened, { timeout: 20_000 }).toBeGreaterThan(opened);
    await page.getByText("open fresh").waitFor();
  }
  await writer.ended();
  const versions = await state();
  const complete = Object.values(versions).reduce((sum, version) => sum + version, 0);
  expect(complete).toBe(1000);
  await page.waitForFunction((n) => window.seen.events.length >= n, complete);
  await page.getByText("open fresh").waitFor();

  const { events, sockets } = await seen();
  expect(sockets.opened).toBeGreaterThanOrEqual(4);
  expect(sockets.open).toBe(1);
  for (const [id, version] of Object.entries(versions)) {
    const inOrder = events.filter((item: Item) => String(item.item_id) === id).map((item) => item.version);
    expect(inOrder).toEqual(Array.from({ length: version }, (_, n) => n + 1));
  }
  expect(events).toHaveLength(complete);
  expect(errors).toEqual([]);
  await leave();
});
