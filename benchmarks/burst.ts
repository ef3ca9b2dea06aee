/** A burst in the browser: one transaction of 5,000 events, and fifty components that show the latest of them. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import type { CDPSession, Page } from "playwright-core";
import { freePort, open, psql, root, startBrowser, startPage, startServer, startStage } from "../tests/e2e/harness.js";

const ROUNDS = Number(process.argv[2] ?? 7);
const RESULTS = process.argv[3];
const EVENTS = 5_000;

const [{ stage, dsn }, { site, address }, browser, port] = await Promise.all([
  startStage(),
  startPage(fileURLToPath(new URL("burst", import.meta.url))),
  startBrowser(),
  freePort(),
]);
const server = await startServer(dsn, port);

type Spent = { readonly script: number; readonly all: number };

/** Seconds that a page's main thread has spent, since it was opened: with scripts, and with everything. */
const spentBy = async (devtools: CDPSession): Promise<Spent> => {
  const { metrics } = await devtools.send("Performance.getMetrics");
  const of = (name: string): number => metrics.find((metric) => metric.name === name)?.value ?? NaN;
  return { script: of("ScriptDuration"), all: of("TaskDuration") };
};

let last = 0;

/** Milliseconds that a burst costs a page whose components use this hook. */
const burst = async (page: Page, devtools: CDPSession): Promise<Spent> => {
  const before = await spentBy(devtools);
  last += EVENTS;
  await psql(
    dsn,
    `select count(flowcraft.broadcast('item_update', json_build_object('type', 'ItemUpdate', 'item_id', 1, 'version', n)))
     from generate_series(${last - EVENTS + 1}, ${last}) as n`,
  );
  await page.waitForFunction(
    (version) => [...document.querySelectorAll("output")].every((output) => output.textContent === String(version)),
    last,
  );
  const after = await spentBy(devtools);
  return { script: 1000 * (after.script - before.script), all: 1000 * (after.all - before.all) };
};

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
const medians: Record<string, number> = {};

for (const [hook, name] of [
  ["state", "useChannelState"],
  ["handler", "useChannel and setState"],
] as const) {
  const cursor = encodeURIComponent(await psql(dsn, "select flowcraft.cursor()"));
  const { page } = await open(browser, `${address}?hook=${hook}&cursor=${cursor}&ws=ws://127.0.0.1:${port}/realtime`);
  await page.getByText("open").waitFor();
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Performance.enable");
  const rounds: Spent[] = [];
  for (let round = 0; round < ROUNDS; round++) rounds.push(await burst(page, devtools));
  medians[`ms of script for ${EVENTS} events, 50 components with ${name}`] = median(rounds.map(({ script }) => script));
  medians[`ms of its main thread, with layout and paint, ${name}`] = median(rounds.map(({ all }) => all));
  await page.close();
}

const commit = execFileSync("git", ["describe", "--always", "--dirty"], { cwd: root, encoding: "utf8" }).trim();
const machine = `${cpus()[0]?.model ?? "?"}, ${cpus().length} cores`;
console.log(`${machine}; commit ${commit}; medians of ${ROUNDS}`);
for (const [what, value] of Object.entries(medians)) console.log(`${what.padEnd(76)} ${value.toFixed(1)}`);
if (RESULTS) writeFileSync(RESULTS, `${JSON.stringify({ commit, machine, medians }, null, 2)}\n`);

await Promise.all([browser.close(), site.close(), server.stop()]);
await stage.stop();
