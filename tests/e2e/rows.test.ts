/** Rows in two windows, one over a WebSocket and one over event streams: equal to SQL, whatever happens to table and server. */
import type { Browser, Page } from "playwright-core";
import { fileURLToPath } from "node:url";
import type { PreviewServer } from "vite";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { flowcraft, freePort, open, Program, psql, startBrowser, startPage, startServer, startStage } from "./harness.js";
import type {} from "./rows/main.js";

const APP = "tests.e2e.tasks";
let stage: Program;
let dsn: string;
let server: Program;
let port: number;
let site: PreviewServer;
let address: string;
let browser: Browser;
let windows: readonly { page: Page; errors: string[] }[];

beforeAll(async () => {
  [{ stage, dsn }, { site, address }, browser, port] = await Promise.all([
    startStage("--empty"),
    startPage(fileURLToPath(new URL("rows", import.meta.url))),
    startBrowser(),
    freePort(),
  ]);
  await psql(
    dsn,
    `create table tasks (id int primary key, team_id int not null, title text not null, archived boolean not null default false);
     create index on tasks (team_id)`,
  );
  await flowcraft(["migrate", `${APP}:channels`], dsn).ended();
  server = await startServer(dsn, port, `${APP}:realtime`);
});

afterAll(async () => {
  await browser.close();
  await site.close();
  await server.stop();
  await stage.stop();
});

beforeEach(async () => {
  await psql(dsn, "truncate tasks; insert into tasks select n, 1 + n % 2, 'task ' || n from generate_series(1, 6) as n");
  windows = await Promise.all(["", "&streams"].map((more) => open(browser, `${address}?ws=ws://127.0.0.1:${port}/realtime${more}`)));
  await Promise.all(windows.map(({ page }) => page.getByText("open fresh").waitFor()));
  return async () => {
    expect(windows.map(({ errors }) => errors)).toEqual([[], []]);
    await Promise.all(windows.map(({ page }) => page.close()));
  };
});

const rows = async (): Promise<string[]> =>
  (await psql(dsn, "select id, team_id, title from tasks where not archived and team_id in (1, 2) order by team_id, id")).split("\n").filter(Boolean);

/** Both windows come to show what a `select` returns. */
const equal = async () => {
  const wanted = await rows();
  for (const { page } of windows) {
    await expect.poll(() => page.locator("li").allTextContents(), { timeout: 20_000 }).toEqual(wanted);
    await page.getByText("open fresh").waitFor();
  }
};

test("what psql writes, however it writes it, is in both windows", async () => {
  await equal();
  for (const sql of [
    "insert into tasks values (7, 1, 'new'), (8, 2, 'new'), (9, 3, 'elsewhere')",
    "update tasks set title = upper(title) where id < 3",
    "update tasks set team_id = 3 - team_id where team_id < 3",
    "update tasks set id = id + 100 where id in (3, 4)",
    "update tasks set archived = true where id = 5",
    "update tasks set archived = false, title = 'back' where id = 5",
    "insert into tasks values (6, 1, 'upsert') on conflict (id) do update set title = excluded.title, team_id = 1",
    "merge into tasks using (values (7), (20)) as v (id) on tasks.id = v.id when matched then delete when not matched then insert values (v.id, 2, 'merged')",
    "begin; delete from tasks where id = 8; insert into tasks values (8, 1, 'again'); commit",
    "begin; delete from tasks; rollback",
    "delete from tasks where team_id = 2",
  ]) {
    await psql(dsn, sql);
    await equal();
  }
});

test("a row that moves between two lists is never in none of them, and never in both; the others do not render", async () => {
  for (let n = 0; n < 20; n++) await psql(dsn, "update tasks set team_id = 3 - team_id where id = 1");
  await equal();
  for (const { page } of windows) {
    const commits = await page.evaluate(() => window.commits.map(([left, right]) => [...left, ...right].filter((id) => id === 1).length));
    expect(new Set(commits)).toEqual(new Set([1]));
    const renders = await page.evaluate(() => window.renders);
    expect([renders[1] ?? 0, renders[2]]).toEqual([expect.any(Number), renders[3]]);
    expect(renders[1]).toBeGreaterThan(renders[2] ?? 0);
  }
});

test("a server that is killed and started again while the table changes leaves both windows equal to SQL", async () => {
  await server.stop("SIGKILL");
  await Promise.all(windows.map(({ page }) => page.getByText("stale").waitFor()));
  await psql(dsn, "delete from tasks where id = 1; update tasks set team_id = 2 where id = 2; insert into tasks values (30, 1, 'meanwhile')");
  for (const { page } of windows) expect(await page.locator("li").count()).toBe(6); // what was there stays
  server = await startServer(dsn, port, `${APP}:realtime`);
  await equal();
  await psql(dsn, "update tasks set title = 'live' where id = 30");
  await equal();
});

test("a TRUNCATE empties both windows, also while the server is away, and what is written next is there", async () => {
  await psql(dsn, "truncate tasks");
  await equal();
  await psql(dsn, "insert into tasks values (1, 1, 'first'), (2, 2, 'second')");
  await equal();
  await psql(dsn, "begin isolation level repeatable read; truncate tasks; insert into tasks values (3, 1, 'third'); commit");
  await equal();
  await server.stop("SIGKILL");
  await psql(dsn, "truncate tasks; insert into tasks values (4, 2, 'fourth')");
  server = await startServer(dsn, port, `${APP}:realtime`);
  await equal();
});
