/** An application in the shape of TanStack DB's todo example, and the same moved to rows: only the module of collections differs. */
import type { Browser, Page } from "playwright-core";
import { fileURLToPath } from "node:url";
import type { PreviewServer } from "vite";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { flowcraft, freePort, open, Program, psql, startBrowser, startPage, startStage } from "./harness.js";
import type {} from "./todo/main.js";

let stage: Program;
let dsn: string;
let server: Program;
let site: PreviewServer;
let address: string;
let browser: Browser;

beforeAll(async () => {
  const port = await freePort();
  const proxy = { "/api": { target: `http://127.0.0.1:${port}`, ws: false }, "/realtime": { target: `http://127.0.0.1:${port}`, ws: true } };
  [{ stage, dsn }, { site, address }, browser] = await Promise.all([
    startStage("--empty"),
    startPage(fileURLToPath(new URL("todo", import.meta.url)), proxy),
    startBrowser(),
  ]);
  await psql(
    dsn,
    `create table todos (id uuid primary key, text text not null, completed boolean not null);
     create table config (key text primary key, value text not null)`,
  );
  await flowcraft(["migrate", "tests.e2e.todos:channels"], dsn).ended();
  server = new Program(["-m", "tests.e2e.on_uvicorn", "tests.e2e.todos:app", String(port)], { environment: { DATABASE_URL: dsn } });
  await server.line();
});

afterAll(async () => {
  await browser.close();
  await site.close();
  await server.stop();
  await stage.stop();
});

beforeEach(() => psql(dsn, "truncate todos, config"));

const opened = async (version: string): Promise<{ page: Page; errors: string[] }> => {
  const found = await open(browser, `${address}?${version}`);
  await found.page.getByRole("heading", { name: /open$/ }).waitFor();
  return found;
};
const add = async (page: Page, text: string) => {
  await page.getByLabel("What needs to be done?").fill(text);
  await page.getByRole("button", { name: "Add" }).click();
};
const inDatabase = () => psql(dsn, "select text || ' ' || completed from todos order by text");
const texts = (page: Page) => page.locator("li label").allTextContents();
const commits = (page: Page) => page.evaluate(() => window.committed);

describe.each([["before"], ["rows"]])("the application, %s", (version) => {
  test("adds, completes and deletes todos, and keeps its colour, in the page and in the database", async () => {
    const { page, errors } = await opened(version);
    await add(page, "milk");
    await add(page, "bread");
    await expect.poll(inDatabase).toBe("bread false\nmilk false");
    await page.getByLabel("milk", { exact: true }).check();
    await page.getByRole("button", { name: "Delete bread" }).click();
    await page.getByRole("button", { name: "Red" }).click();
    await expect.poll(inDatabase).toBe("milk true");
    await expect.poll(() => psql(dsn, "select value from config")).toBe("#ffeeee");
    await page.getByRole("heading", { name: "0 of 1 open" }).waitFor();
    await page.reload();
    await page.getByRole("heading", { name: "0 of 1 open" }).waitFor();
    await expect.poll(() => page.locator("main").getAttribute("style")).toContain("rgb(255, 238, 238)");
    expect(errors).toEqual([]);
    await page.close();
  });

  test("takes back what the API refuses, and says so", async () => {
    const { page } = await opened(version);
    await add(page, "milk");
    await add(page, "  ");
    await page.getByRole("alert").getByText("a todo has a text").waitFor();
    await expect.poll(() => texts(page)).toEqual(["milk"]);
    await page.close();
  });
});

test("on rows, what another window or psql commits is in the page", async () => {
  const [one, two] = await Promise.all([opened("rows"), opened("rows")]);
  await add(one.page, "milk");
  await expect.poll(() => texts(two.page)).toEqual(["milk"]);
  await psql(dsn, "insert into todos values (gen_random_uuid(), 'from psql', false); delete from todos where text = 'milk'");
  for (const { page, errors } of [one, two]) {
    await expect.poll(() => texts(page)).toEqual(["from psql"]);
    expect(errors).toEqual([]);
    await page.close();
  }
});

test("on rows, a todo that is added is there from the click on, at every commit of React, and once", async () => {
  const { page } = await opened("rows");
  for (let n = 0; n < 10; n++) await add(page, `todo ${n}`);
  await expect.poll(async () => (await inDatabase()).split("\n")).toHaveLength(10);
  await psql(dsn, "insert into todos values (gen_random_uuid(), 'todo z', true)");
  await expect.poll(() => texts(page)).toHaveLength(11);
  const counts = (await commits(page)).map(({ texts }) => texts.length);
  expect(counts).toEqual(counts.toSorted((a, b) => a - b)); // none was there, gone, and there again
  expect((await texts(page)).length).toBe(new Set(await texts(page)).size);
  await page.close();
});

test("on rows, one transaction on both tables is one change of the page", async () => {
  const { page } = await opened("rows");
  await psql(dsn, "insert into config values ('colour', '#open'); insert into todos values (gen_random_uuid(), 'milk', false)");
  await page.getByRole("heading", { name: "1 of 1 open" }).waitFor();
  const begun = (await commits(page)).length - 1;
  for (let n = 0; n < 10; n++)
    await psql(
      dsn,
      `begin; update todos set completed = not completed;
       update config set value = case value when '#open' then '#done' else '#open' end; commit`,
    );
  await psql(dsn, "insert into todos values (gen_random_uuid(), 'the end', false)");
  await page.getByText("the end", { exact: true }).waitFor();
  const seen = (await commits(page)).slice(begun).filter(({ texts }) => texts.length === 1);
  expect(new Set(seen.map(({ open, colour }) => `${open} ${colour}`))).toEqual(new Set(["1 #open", "0 #done"]));
  await page.close();
});
