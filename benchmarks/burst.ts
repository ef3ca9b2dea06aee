/** A burst in the browser: one transaction of 5,000 events, and fifty components that show the latest of them. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
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
const { page } = await open(browser, `${address}?ws=ws://127.0.0.1:${port}/realtime`);
await page.getByText("open").waitFor();
const devtools = await page.context().newCDPSession(page);
await devtools.send("Performance.enable");

/** Seconds that the page's main thread has spent, since it was opened: with scripts, and with everything. */
const spent = async (): Promise<{ script: number; all: number }> => {
  const { metrics } = await devtools.send("Performance.getMetrics");
  const of = (name: string): number => metrics.find((metric) => metric.name === name)?.value ?? NaN;
  return { script: of("ScriptDuration"), all: of("TaskDuration") };
};

const rounds: { script: number; all: number }[] = [];
for (let round = 1; round <= ROUNDS; round++) {
  const last = round * EVENTS;
  const before = await spent();
  await psql(
    dsn,
    `select count(flowcraft.emit('item_update', json_build_object('type', 'ItemUpdate', 'item_id', 1, 'version', n)))
     from generate_series(${last - EVENTS + 1}, ${last}) as n`,
  );
  await page.waitForFunction(
    (version) => [...document.querySelectorAll("output")].every((output) => output.textContent === String(version)),
    last,
  );
  const after = await spent();
  rounds.push({ script: 1000 * (after.script - before.script), all: 1000 * (after.all - before.all) });
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
const medians = {
  [`ms of script for ${EVENTS} events and 50 components`]: median(rounds.map(({ script }) => script)),
  "ms of the main thread, with layout and paint": median(rounds.map(({ all }) => all)),
};
const commit = execFileSync("git", ["describe", "--always", "--dirty"], { cwd: root, encoding: "utf8" }).trim();
const machine = `${cpus()[0]?.model ?? "?"}, ${cpus().length} cores`;
console.log(`${machine}; commit ${commit}; medians of ${ROUNDS}`);
for (const [what, value] of Object.entries(medians)) console.log(`${what.padEnd(58)} ${value.toFixed(1)}`);
if (RESULTS) writeFileSync(RESULTS, `${JSON.stringify({ commit, machine, medians }, null, 2)}\n`);

await Promise.all([browser.close(), site.close(), server.stop()]);
await stage.stop();
