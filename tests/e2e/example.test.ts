/** The example, as `make demo` starts it: a person triggers a flow, watches it, cancels it, and looks at the audit. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { open, type Program, psql, startBrowser, startDemo } from "./harness.js";

let demo: Program;
let address: string;
let dsn: string;
let browser: Browser;

beforeAll(async () => {
  const started = await startDemo();
  ({ demo, page: address, dsn } = started);
  expect(started.webSocket).toBe(`${address.replace("http", "ws")}realtime`);
  browser = await startBrowser();
});

afterAll(async () => {
  await browser.close();
  await demo.stop();
});

const visit = async (path: string) => {
  const { page, errors } = await open(browser, new URL(path, address).href);
  await page.locator('[data-testid="badge"][data-health="live"]').waitFor();
  return { page, errors };
};

/** What the audit has counted, in the panel that the badge opens. */
const audit = async (page: Page): Promise<string[]> => {
  await page.getByTestId("badge").click();
  return Promise.all(["lost", "doubled", "out-of-order"].map((kind) => page.getByTestId(`audit-${kind}`).innerText()));
};

/** Run the first flow and open the page of that run; its id is returned. */
const trigger = async (page: Page): Promise<string> => {
  const card = page.getByTestId("flow-card").first();
  const former = await card.getByTestId("flow-latest").getAttribute("href");
  await card.getByTestId("trigger").click();
  await card.locator(`[data-testid="flow-latest"]:not([href="${former}"])`).click();
  await page.getByTestId("run").waitFor();
  return new URL(page.url()).pathname.split("/").at(-1) ?? "";
};

test("an UPDATE in psql changes the table of runs", async () => {
  const { page, errors } = await visit("/runs");
  const id = await psql(dsn, "select id from runs where status = 'succeeded' order by created_at desc limit 1");
  const row = page.locator(`[data-testid="run-row"][data-run-id="${id}"]`);
  await row.waitFor();
  await psql(dsn, `update runs set status = 'failed', error = 'told by psql' where id = '${id}'`);
  await page.locator(`[data-testid="run-row"][data-run-id="${id}"][data-status="failed"]`).waitFor();
  expect(errors).toEqual([]);
  await page.close();
});

test("a DELETE in psql takes a run off the list, and its open page says so", async () => {
  const id = await psql(dsn, "select id from runs where status = 'succeeded' order by created_at limit 1");
  const [list, detail] = [await visit("/runs"), await visit(`/runs/${id}`)];
  const before = Number(await list.page.getByTestId("filter-all").locator("span").innerText());
  await detail.page.getByTestId("step").first().waitFor();
  await psql(dsn, `delete from runs where id = '${id}'`);
  await list.page.locator(`[data-testid="filter-all"]:has-text("${before - 1}")`).waitFor();
  await detail.page.getByText("There is no such run").waitFor();
  expect([list.errors, detail.errors]).toEqual([[], []]);
  await list.page.close();
  await detail.page.close();
});

test("a triggered flow is followed step by step to its end, and nothing is lost, doubled or out of order", async () => {
  const { page, errors } = await visit("/flows");
  const before = Number(await psql(dsn, "select count(*) from runs"));
  const id = await trigger(page);
  await page.locator('[data-testid="run"][data-status="succeeded"], [data-testid="run"][data-status="failed"]').waitFor();
  const steps = await psql(dsn, `select status from steps where run_id = '${id}' order by position`);
  const shown = await page.getByTestId("step").evaluateAll((all) => all.map((step) => step.dataset["status"]));
  expect(shown).toEqual(steps.split("\n"));
  const lines = Number(await psql(dsn, `select count(*) from log_lines where run_id = '${id}'`));
  expect(await page.getByTestId("log-line").count()).toBe(lines);
  expect(Number(await psql(dsn, "select count(*) from runs"))).toBe(before + 1);
  expect(await audit(page)).toEqual(["0", "0", "0"]);
  expect(errors).toEqual([]);
  await page.close();
});

test("a cancelled run says so at once, settles, and is not begun again by a second click", async () => {
  const { page, errors } = await visit("/flows");
  const id = await trigger(page);
  const place = await page.getByTestId("cancel").boundingBox();
  await page.getByTestId("cancel").click();
  await page.locator('[data-testid="run"][data-status="cancelled"]').waitFor();
  await page.getByTestId("run-pending").waitFor({ state: "detached" });
  await page.locator('[data-testid="retry"]:enabled').waitFor();
  if (place) await page.mouse.click(place.x + place.width / 2, place.y + place.height / 2);
  expect(await page.getByTestId("run-pending").count()).toBe(0);
  expect(await psql(dsn, `select status from runs where id = '${id}'`)).toBe("cancelled");
  expect(errors).toEqual([]);
  await page.close();
});

test("visitors of one run see each other; a second tab is the same visitor, and a reload is no news", async () => {
  const id = await psql(dsn, "select id from runs order by created_at desc limit 1");
  const context = await browser.newContext();
  const look = async () => {
    const page = await context.newPage();
    await page.goto(new URL(`/runs/${id}`, address).href);
    return page;
  };
  const both = '[data-testid="watchers"][data-count="2"][data-fresh="true"]';
  const [one, other] = [await look(), await visit(`/runs/${id}`)]; // each with a storage of its own
  for (const page of [one, other.page]) await page.locator(both).waitFor();
  const tab = await look();
  await tab.locator(both).waitFor();
  const events = () => psql(dsn, `select count(*) from flowcraft.event where channel = 'runs_members.${id}'`);
  const before = await events();
  await tab.close();
  await one.reload();
  await one.locator(both).waitFor();
  expect(await events()).toBe(before);
  const label = await one.locator("[data-testid=watchers] > .sr-only").textContent();
  expect(label).toMatch(/^2 visitors on this page: .*\(you\)/);
  await one.locator('a[href="/runs"]').first().click();
  await other.page.locator('[data-testid="watchers"][data-count="1"]').waitFor();
  expect(Number(await events())).toBe(Number(before) + 1);
  expect(other.errors).toEqual([]);
  await context.close();
  await other.page.close();
});

test("the dashboard shows who looks at it", async () => {
  const { page, errors } = await visit("/");
  const { page: another } = await visit("/");
  for (const each of [page, another]) await each.locator('[data-testid="watchers"][data-count="2"]').waitFor();
  await another.close();
  await page.locator('[data-testid="watchers"][data-count="1"]').waitFor();
  expect(errors).toEqual([]);
  await page.close();
});
