/** The shop: a page that never shows half a transaction, and misses nothing while its server is gone. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort, open, Program, psql, startBrowser, startStage } from "./harness.js";

let stage: Program;
let dsn: string;
let port: number;
let shop: Program;
let browser: Browser;

const startShop = async (): Promise<Program> => {
  const environment = { DATABASE_URL: dsn, PORT: String(port), PYTHONUNBUFFERED: "1" };
  // uvicorn says on standard error that it is up.
  const started = new Program(["-c", "exec .venv/bin/python -m examples.orders 2>&1"], { environment, command: "sh" });
  await started.until((line) => line.includes("running on"));
  return started;
};

beforeAll(async () => {
  [{ stage, dsn }, browser, port] = await Promise.all([startStage("--empty"), startBrowser(), freePort()]);
  shop = await startShop();
});

afterAll(async () => {
  await browser.close();
  await shop.stop();
  await stage.stop();
});

type Audited = { halves: [sold: string, earned: string][]; changes: number };

const ORDER = "with o as (insert into orders (buyer, item, price) values ('Ada', 'Pencils', 280) returning price)";

/** Record each change of the page in which what was sold is not what the shop has. */
const audit = () => {
  const told: Audited = { halves: [], changes: 0 };
  const text = (selector: string) => document.querySelector(selector)?.textContent ?? "";
  new MutationObserver(() => {
    const pair: [string, string] = [text("#sold"), text('[data-owner="Shop"] b')];
    told.changes += 1;
    if (pair[1] !== "" && pair[0] !== pair[1]) told.halves.push(pair);
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
  Object.assign(globalThis, { told });
};
const audited = async (page: Page): Promise<Audited> => page.evaluate("told");

const visit = async () => {
  const opened = await open(browser, `http://127.0.0.1:${port}/`);
  await opened.page.locator('[data-health="live"]').waitFor();
  await opened.page.evaluate(audit);
  return opened;
};

test("an order is placed, its status is live on another page, and the money comes back when it is cancelled", async () => {
  const [{ page, errors }, other] = await Promise.all([visit(), visit()]);
  await page.getByRole("button", { name: "Lamp" }).click();
  await other.page.locator('#orders li[data-status="paid"]').waitFor();
  expect(await other.page.locator('[data-owner="Shop"] b').textContent()).toBe("€39.00");
  await page.getByRole("button", { name: "Cancel" }).click();
  await other.page.locator('#orders li[data-status="cancelled"]').waitFor();
  expect(await other.page.locator('[data-owner="Shop"] b').textContent()).toBe("€0.00");
  expect((await audited(other.page)).halves).toEqual([]);
  expect([errors, other.errors]).toEqual([[], []]);
  await Promise.all([page.close(), other.page.close()]);
});

test("a transaction is never rendered by half, however slowly it was written", async () => {
  const { page, errors } = await visit();
  const slow = `begin; insert into orders (buyer, item, price) values ('Ada', 'Pencils', 280); select pg_sleep(0.02);
    update accounts set balance = balance - 280 where owner = 'Ada';
    update accounts set balance = balance + 280 where owner = 'Shop'; commit;`;
  await psql(dsn, slow.repeat(20));
  await page.getByText("€56.00").nth(1).waitFor();
  const { halves, changes } = await audited(page);
  expect(halves).toEqual([]);
  expect(changes).toBeGreaterThan(0);

  // What the test would see if there were halves: the same in two transactions.
  await psql(dsn, `${ORDER} select price from o`);
  await page.locator("#sold").getByText("€58.80").waitFor();
  await psql(dsn, "update accounts set balance = balance + 280 where owner = 'Shop'");
  await page.locator('[data-owner="Shop"]').getByText("€58.80").waitFor();
  expect((await audited(page)).halves).toContainEqual(["€58.80", "€56.00"]);
  expect(errors).toEqual([]);
  await page.close();
});

test("a server that is killed and started again has told the page everything", async () => {
  const { page, errors } = await visit();
  await shop.stop("SIGKILL");
  await page.locator('[data-health="catching up"]').waitFor();
  await psql(dsn, "update orders set status = 'packed' where status = 'paid'");
  await psql(dsn, `${ORDER} update accounts set balance = balance + price from o where owner = 'Shop'`);
  shop = await startShop();
  await page.locator('[data-health="live"]').waitFor();
  const rows = await psql(dsn, "select id, status from orders order by id desc");
  const shown = await page
    .locator("#orders li")
    .evaluateAll((all) => all.map((order) => `${order.dataset["order"]}|${order.dataset["status"]}`));
  expect(shown).toEqual(rows.split("\n"));
  expect((await audited(page)).halves).toEqual([]);
  expect(errors).toEqual([]);
  await page.close();
});
