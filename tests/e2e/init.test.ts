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

const start = async (project: string, port: number) => {
  const environment = { PORT: String(port), DATABASE_URL: "" };
  const service = new Program(["-m", "app"], { cwd: join(folder, project), environment });
  const [address, dsn] = [/http\S+/.exec(await service.line())?.[0], /psql "([^"]+)"/.exec(await service.line())?.[1]];
  if (address === undefined || dsn === undefined) throw new Error("it does not say where it is");
  return { service, address, dsn };
};

const watch = async (project: string): Promise<void> => {
  const port = await freePort();
  const { service, address, dsn } = await start(project, port);
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

  // While the service is away, nothing that was typed or clicked is lost or pretended.
  await service.stop();
  const trouble = page.getByRole("alert").getByText("Nothing was changed: the service does not answer.");
  await page.getByLabel("A new task").fill("Typed while it was away");
  await page.getByRole("button", { name: "Add" }).click();
  await trouble.waitFor();
  expect(await page.getByLabel("A new task").inputValue()).toBe("Typed while it was away");
  await page.locator('[data-task-id="4"] input').click();
  await expect.poll(() => page.locator('[data-task-id="4"] input').isChecked()).toBe(true);
  const again = await start(project, port);
  await page.locator('#health[data-health="live"]').waitFor();
  await page.getByRole("button", { name: "Add" }).click();
  await page.locator('[data-task-id="5"]').getByText("Typed while it was away").waitFor();
  await expect.poll(() => page.getByLabel("A new task").inputValue()).toBe("");
  await expect.poll(() => page.locator("#trouble").textContent()).toBe("");

  expect(errors).toEqual([]);
  await page.close();
  await again.service.stop();
};

test("the page without a build step shows what is committed", async () => {
  await init("plain");
  await watch("plain");
}, 120_000);

test("the React page shows what is committed", async () => {
  await init("react", "--react");
  const web = join(folder, "react/web");
  symlinkSync(`${root}node_modules`, join(web, "node_modules"));
  await new Program(["run", "build"], { cwd: web, command: "npm" }).ended();
  await watch("react");
}, 120_000);

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
