/**
 * A burst in the browser: one transaction of 5,000 events, and fifty components that show the latest of them. Then events of
 * about 1 KB each, compressed and not: what they take on the wire, what they cost the page, and how long they take.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import type { CDPSession, Page } from "playwright-core";
import { freePort, open, psql, root, startBrowser, startPage, startServer, startStage } from "../tests/e2e/harness.js";
import { CountedWire } from "../tests/e2e/wire.js";

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

/** About 1 KB of text in which little repeats: the parts of it are the digests of numbers. */
const LONG = "(select string_agg(md5((n * 32 + part)::text), ' ') from generate_series(1, 30) as part)";

/** Milliseconds that a burst costs a page; `text` is SQL for a further member of each event. */
const burst = async (page: Page, devtools: CDPSession, text = "''"): Promise<Spent> => {
  const before = await spentBy(devtools);
  last += EVENTS;
  await psql(
    dsn,
    `select count(flowcraft.broadcast('item_update', json_build_object('type', 'ItemUpdate', 'item_id', 1, 'version', n, 'text', ${text})))
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

for (const [app, how] of [
  ["tests.e2e.app:realtime", "not compressed"],
  ["tests.e2e.compressed:realtime", "compressed"],
] as const) {
  const to = await freePort();
  const other = await startServer(dsn, to, app);
  const wire = await CountedWire.start(to);
  const cursor = encodeURIComponent(await psql(dsn, "select flowcraft.cursor()"));
  const { page } = await open(browser, `${address}?hook=state&cursor=${cursor}&ws=ws://127.0.0.1:${wire.port}/realtime`);
  await page.getByText("open").waitFor();
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Performance.enable");
  const rounds: (Spent & { readonly wire: number })[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const before = wire.received;
    const spent = await burst(page, devtools, LONG);
    rounds.push({ ...spent, wire: (wire.received - before) / 1000 });
  }
  const what = `${EVENTS} events of 1 KB, ${how}`;
  medians[`KB on the wire for ${what}`] = median(rounds.map(({ wire: size }) => size));
  medians[`ms of script for ${what}`] = median(rounds.map(({ script }) => script));
  medians[`ms of the page's main thread for ${what}`] = median(rounds.map(({ all }) => all));
  await page.close();
  await wire.stop();
  await other.stop();
}

const commit = execFileSync("git", ["describe", "--always", "--dirty"], { cwd: root, encoding: "utf8" }).trim();
const machine = `${cpus()[0]?.model ?? "?"}, ${cpus().length} cores`;
console.log(`${machine}; commit ${commit}; medians of ${ROUNDS}`);
for (const [what, value] of Object.entries(medians)) console.log(`${what.padEnd(76)} ${value.toFixed(1)}`);
if (RESULTS) writeFileSync(RESULTS, `${JSON.stringify({ commit, machine, medians }, null, 2)}\n`);

await Promise.all([browser.close(), site.close(), server.stop()]);
await stage.stop();
