/** The run page of docs/tutorials/run-page.md, built of the files that stand there, served and looked at in a browser. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Browser } from "playwright-core";
import type { PreviewServer } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { flowcraft, freePort, open, Program, psql, root, startBrowser, startPage, startStage } from "./harness.js";

const folder = `${root}build/tutorial`;
const tutorial = readFileSync(`${root}docs/tutorials/run-page.md`, "utf8");
const files = new Map(
  [...tutorial.matchAll(/^```\w+ title="([^"]+)"\n(.*?)^```$/gms)].map(([, name = "", text = ""]) => [name, text]),
);
const file = (name: string): string => files.get(name) ?? expect.fail(`the tutorial has no ${name}`);
const ID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

let stage: Program;
let dsn: string;
let port: number;
let service: Program;
let site: PreviewServer;
let address: string;
let browser: Browser;

const startService = async (): Promise<Program> => {
  const command = `${root}.venv/bin/uvicorn`;
  const log = { environment: { DATABASE_URL: dsn }, cwd: folder, command };
  const program = new Program(["api:app", "--port", String(port), "--log-config", "log.json"], log);
  await program.until((line) => line.includes("Application startup complete"));
  return program;
};
const LOG = {
  version: 1,
  handlers: { out: { class: "logging.StreamHandler", stream: "ext://sys.stdout" } },
  loggers: { "uvicorn.error": { handlers: ["out"], level: "INFO" } },
};

beforeAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  for (const [name, text] of files) {
    mkdirSync(dirname(`${folder}/${name}`), { recursive: true });
    writeFileSync(`${folder}/${name}`, text);
  }
  const html = '<!doctype html><body><script type="module" src="/src/main.tsx"></script></body>';
  writeFileSync(`${folder}/web/index.html`, html);
  writeFileSync(`${folder}/log.json`, JSON.stringify(LOG));

  [{ stage, dsn }, browser] = await Promise.all([startStage("--empty"), startBrowser()]);
  await psql(dsn, file("schema.sql"));
  await flowcraft(["migrate", "live:realtime"], dsn, folder).ended();
  const generate = ["codegen", "typescript", "live:channels", "--out", "web/src/realtime.gen.ts"];
  await flowcraft(generate, dsn, folder).ended();
  port = await freePort();
  service = await startService();
  const target = `http://127.0.0.1:${port}`;
  const proxy = { "/api": { target, ws: false }, "/realtime": { target, ws: true } };
  ({ site, address } = await startPage(`${folder}/web`, proxy));
});

afterAll(async () => {
  await browser.close();
  await site.close();
  await service.stop();
  await stage.stop();
});

test("the run page shows what is committed, also while the service is away, and cancels", async () => {
  const { page, errors } = await open(browser, `${address}#${ID}`);
  await page.getByText("live").waitFor();
  expect(await page.locator("p").innerText()).toBe("queued, 0 %");

  await psql(dsn, file("work.sql"));
  await page.getByText("running, 50 %").waitFor();
  expect(await page.locator("li").allInnerTexts()).toEqual(["Load ✓", "Train"]);

  await service.stop();
  await page.getByRole("button").click();
  await page.getByRole("alert").getByText("Not cancelled: try again.").waitFor();
  expect(await page.getByRole("button").isEnabled()).toBe(true);
  await psql(dsn, "update runs set progress = 75; update steps set done = true");
  service = await startService();
  await page.getByText("running, 75 %").waitFor();
  expect(await page.locator("li").allInnerTexts()).toEqual(["Load ✓", "Train ✓"]);

  await page.getByRole("button").click();
  await page.getByText("cancelled", { exact: false }).first().waitFor();
  expect(await page.getByRole("alert").count()).toBe(0);
  expect(errors).toEqual([]);
});
