/** What `flowcraft init` writes, as somebody runs it: the page is live, with and without React. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { flowcraft, freePort, open, Program, psql, root, startBrowser, startStage } from "./harness.js";

let browser: Browser;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "flowcraft-init-"));
  browser = await startBrowser();
});

afterAll(async () => {
  await browser.close();
  rmSync(folder, { recursive: true, force: true });
});

const init = async (...args: string[]): Promise<void> =>
  new Program(["init", ...args], { cwd: folder, command: `${root}.venv/bin/flowcraft` }).ended();

const start = async (project: string) => {
  const environment = { PORT: "0", DATABASE_URL: "" };
  const service = new Program(["-m", "app"], { cwd: join(folder, project), environment });
  const [address, dsn] = [/http\S+/.exec(await service.line())?.[0], /psql "([^"]+)"/.exec(await service.line())?.[1]];
  if (address === undefined || dsn === undefined) throw new Error("it does not say where it is");
  return { service, address, dsn };
};

const watch = async (project: string): Promise<void> => {
  const { service, address, dsn } = await start(project);
  const { page, errors } = await open(browser, address);
  await page.locator('#health[data-health="live"]').waitFor();
  const tasks = page.locator("#tasks li");
  expect(await tasks.count()).toBe(3);

  // Somebody at a terminal, then somebody at the page.
  await psql(dsn, "update tasks set title = 'Hello from psql', done = true where id = 2");
  await page.locator('[data-task-id="2"]').getByText("Hello from psql").waitFor();
  expect(await page.locator('[data-task-id="2"] input').isChecked()).toBe(true);
  await page.getByLabel("A new task").fill("Water the <b>flowers</b>");
  await page.getByRole("button", { name: "Add" }).click();
  await page.locator('[data-task-id="4"]').getByText("Water the <b>flowers</b>").waitFor();
  await page.locator('[data-task-id="4"] input').click();
  await page.locator("#events li").getByText('"task_id":4').and(page.getByText('"done":true')).waitFor();
  expect(await psql(dsn, "select done from tasks where id = 4")).toBe("t");
  expect(await page.locator('[data-task-id="4"] input').isChecked()).toBe(true);

  expect(errors).toEqual([]);
  await page.close();
  await service.stop();
};

test("the page without a build step shows what is committed", async () => {
  await init("plain");
  await watch("plain");
});

test("the React page shows what is committed", async () => {
  await init("react", "--react");
  const web = join(folder, "react/web");
  symlinkSync(`${root}node_modules`, join(web, "node_modules"));
  await new Program(["run", "build"], { cwd: web, command: "npm" }).ended();
  await watch("react");
});

test("an application that was there has a page that shows what is said", async () => {
  const mine = join(folder, "mine");
  mkdirSync(mine);
  writeFileSync(join(mine, "main.py"), "from fastapi import FastAPI\n\napp = FastAPI()\n");
  const { stage, dsn } = await startStage("--empty");
  await flowcraft(["init"], dsn, mine).ended();
  await flowcraft(["migrate", "realtime:realtime"], dsn, mine).ended();
  const port = await freePort();
  const command = `exec ${root}.venv/bin/uvicorn main:app --port ${port} 2>&1`;
  const service = new Program(["-c", command], { cwd: mine, command: "sh", environment: { DATABASE_URL: dsn } });
  await service.until((line) => line.includes("running on"));

  const { page, errors } = await open(browser, `http://127.0.0.1:${port}/live/`);
  await page.locator('#health[data-health="live"]').waitFor();
  await flowcraft(["broadcast", "realtime:realtime", "system", '{"text": "hello"}'], dsn, mine).ended();
  await page.locator("#events li").getByText('system {"type":"Notice","text":"hello"}').waitFor();
  expect(errors).toEqual([]);
  await page.close();
  await service.stop();
  await stage.stop();
});
