/** The example's pages, and one of each kind of the site's, in light and in dark: no violation that axe finds. */
import { readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import type { AxeResults } from "axe-core";
import type { Browser, Page } from "playwright-core";
import { preview, type PreviewServer } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort, Program, psql, root, startBrowser, startDemo } from "./harness.js";

const axe = readFileSync(`${root}node_modules/axe-core/axe.min.js`, "utf8");
type Axe = { run(options: { runOnly?: readonly string[] }): Promise<AxeResults> };

/** The rules that may find in dark what they did not find in light. */
const COLOURS = ["color-contrast", "link-in-text-block"];

/** Pages of the site with what the others consist of; `ALL_PAGES=1` looks at every page. */
const KINDS = ["", "benchmarks/", "guides/compared/", "guides/security/", "guides/testing/", "reference/python/", "spec/protocol/"];

let browser: Browser;

beforeAll(async () => {
  browser = await startBrowser();
});

afterAll(() => browser.close());

/** What axe finds on a page, as lines: the element and what is wrong with it. */
const violations = async (page: Page, rules?: readonly string[]): Promise<string[]> => {
  await page.evaluate(axe);
  const found = await page.evaluate(
    async (runOnly) => (globalThis as unknown as { axe: Axe }).axe.run(runOnly ? { runOnly } : {}),
    rules,
  );
  return found.violations.flatMap(({ id, nodes }) =>
    nodes.slice(0, 3).map((node) => `${page.url()} ${id}: ${node.html.slice(0, 100)}: ${node.failureSummary ?? ""}`),
  );
};

/** Look at pages in both colour schemes; `ready` is there once a page has what it shows. */
const look = async (addresses: readonly string[], ready: string): Promise<string[]> => {
  const found: string[] = [];
  for (const colorScheme of ["light", "dark"] as const) {
    const page = await browser.newPage({ colorScheme, reducedMotion: "reduce" });
    for (const address of addresses) {
      await page.goto(address);
      await page.locator(ready).first().waitFor({ state: "attached" });
      found.push(...(await violations(page, colorScheme === "dark" ? COLOURS : undefined)));
    }
    await page.close();
  }
  return found;
};

test("the example's pages", async () => {
  const { demo, page: address, dsn } = await startDemo();
  const runs = await psql(dsn, "select distinct on (status) id from runs order by status, created_at");
  const paths = ["", "flows", "runs", "system", "runs/none", "nowhere", ...runs.split("\n").map((id) => `runs/${id}`)];
  expect(runs.split("\n").length).toBeGreaterThan(1);
  const live = '[data-testid="badge"][data-health="live"]';
  expect(await look(paths.map((path) => new URL(path, address).href), live)).toEqual([]);
  await demo.stop();
}, 180_000);

test("the site's pages", async () => {
  const folder = `${root}build/site`;
  await new Program([], { command: `${root}scripts/site` }).ended();
  const port = await freePort();
  const site: PreviewServer = await preview({
    configFile: false,
    root,
    appType: "mpa",
    logLevel: "warn",
    build: { outDir: folder },
    preview: { port, host: "127.0.0.1", strictPort: true },
  });
  const files = await readdir(folder, { recursive: true });
  const all = files.filter((file) => file.endsWith("index.html")).map((file) => file.slice(0, -"index.html".length));
  expect(all.length).toBeGreaterThan(40);
  expect(all).toEqual(expect.arrayContaining(KINDS));
  const pages = process.env["ALL_PAGES"] ? all : KINDS;
  expect(await look(pages.map((page) => `http://127.0.0.1:${port}/${page}`), "article h1")).toEqual([]);
  await site.close();
}, 1_200_000);
