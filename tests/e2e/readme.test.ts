/** The README's three snippets, declared, committed and rendered as they stand there. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { Browser } from "playwright-core";
import type { PreviewServer } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { flowcraft, freePort, open, type Program, psql, root, startBrowser, startPage, startServer, startStage } from "./harness.js";

const folder = `${root}build/readme`;
const readme = readFileSync(`${root}README.md`, "utf8");

/** The README's only snippet in a language. */
const snippet = (language: string): string => {
  const found = [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms"))];
  expect(found, `one ${language} snippet`).toHaveLength(1);
  return found[0]?.[1] ?? "";
};

const MAIN = `
import { createClient } from "@flowcraft/realtime";
import { RealtimeProvider, useConnection } from "@flowcraft/realtime/react";
import { createRoot } from "react-dom/client";
import { schemaHash } from "./channels.gen";
import { Runs } from "./runs";

const Ready = () => <output>{useConnection().fresh ? "ready" : ""}</output>;
const client = createClient({ schema: schemaHash });
createRoot(document.body.appendChild(document.createElement("main"))).render(
  <RealtimeProvider client={client}><Runs /><Ready /></RealtimeProvider>,
);
`;
const TSCONFIG = {
  extends: "../../tsconfig.base.json",
  compilerOptions: {
    noEmit: true,
    jsx: "react-jsx",
    lib: ["ES2022", "DOM"],
    module: "ESNext",
    moduleResolution: "bundler",
    types: ["react", "react-dom"],
  },
};

let stage: Program;
let dsn: string;
let server: Program;
let site: PreviewServer;
let address: string;
let browser: Browser;

const run = async (...args: string[]): Promise<void> => flowcraft(args, dsn, folder).ended();

beforeAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/app.py`, snippet("python"));
  writeFileSync(`${folder}/runs.tsx`, snippet("tsx"));
  writeFileSync(`${folder}/main.tsx`, MAIN);
  writeFileSync(`${folder}/index.html`, '<!doctype html><script type="module" src="./main.tsx"></script>');
  writeFileSync(`${folder}/tsconfig.json`, JSON.stringify(TSCONFIG));

  [{ stage, dsn }, browser] = await Promise.all([startStage("--empty"), startBrowser()]);
  await psql(dsn, "create table runs (id uuid primary key default gen_random_uuid(), status text not null)");
  await psql(dsn, "insert into runs (status) values ('queued')");
  await run("migrate", "app:realtime");
  await run("codegen", "typescript", "app:realtime", "--out", "channels.gen.ts");
  const port = await freePort();
  server = await startServer(dsn, port, "app:realtime", folder);
  const proxy = { "/realtime": { target: `http://127.0.0.1:${port}`, ws: true } };
  ({ site, address } = await startPage(folder, proxy));
});

afterAll(async () => {
  await browser.close();
  await site.close();
  await server.stop();
  await stage.stop();
});

test("the component compiles, and a channel that is not declared does not", () => {
  const tsc = (): string => {
    try {
      return execFileSync("node_modules/.bin/tsc", ["-p", folder], { cwd: root, encoding: "utf8" });
    } catch (error) {
      return (error as { stdout: string }).stdout;
    }
  };
  expect(tsc()).toBe("");
  writeFileSync(`${folder}/runs.tsx`, snippet("tsx").replace('"run_rows"', '"runs_rows"'));
  expect(tsc()).toContain("runs_rows");
  writeFileSync(`${folder}/runs.tsx`, snippet("tsx"));
});

test("the commit re-renders the component", async () => {
  const { page, errors } = await open(browser, address);
  await page.getByText("ready").waitFor();
  await page.locator("li", { hasText: "queued" }).waitFor();
  await psql(dsn, snippet("sql"));
  await page.locator("li", { hasText: "running" }).waitFor();
  await psql(dsn, "delete from runs");
  await page.locator("li").waitFor({ state: "detached" });
  expect(errors).toEqual([]);
  await page.close();
});
