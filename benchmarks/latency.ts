/**
 * From a commit to the page: how long until a browser's DOM, and a plain WebSocket client, show a committed row.
 *
 * One writer, idle server, one commit at a time. Every side reads the same clock of the same machine; the moment of
 * the commit is taken when PostgreSQL has answered it, so what is measured is all that comes after.
 */
import { writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { freePort, open, Program, startBrowser, startPage, startServer, startStage } from "../tests/e2e/harness.js";
import { commit } from "./commit.js";

const ROUNDS = Number(process.argv[2] ?? 300);
const RESULTS = process.argv[3];
const FIRST_VERSION = 1000;

const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;

const medians: Record<string, number> = {};
const report = (what: string, values: readonly number[]): void => {
  const sorted = values.toSorted((a, b) => a - b);
  const figures = [0.5, 0.9, 0.99].map((share) => percentile(sorted, share).toFixed(2).padStart(8)).join(" ");
  console.log(`${what.padEnd(34)} ${figures}   n=${sorted.length}`);
  medians[`ms to ${what}, p50`] = percentile(sorted, 0.5);
  medians[`ms to ${what}, p99`] = percentile(sorted, 0.99);
};

const [{ stage, dsn }, { site, address }, browser, port] = await Promise.all([
  startStage(),
  startPage(),
  startBrowser(),
  freePort(),
]);
const server = await startServer(dsn, port);
const socketAddress = `ws://127.0.0.1:${port}/realtime`;
const { page } = await open(browser, `${address}?ws=${socketAddress}`);
await page.getByText("open fresh").waitFor();
await page.evaluate(() => {
  const shown: number[] = [];
  Object.assign(window, { shown });
  const rows = document.querySelector('[data-testid="rows"]');
  if (!rows) throw new Error("no rows");
  new MutationObserver(() => shown.push(performance.timeOrigin + performance.now())).observe(rows, {
    subtree: true,
    characterData: true,
    childList: true,
  });
});

const client = new Program(["-m", "benchmarks.latency_client", socketAddress, String(ROUNDS)]);
await client.until((line) => line === "ready");
const writer = new Program(["-m", "benchmarks.latency_writer", dsn, String(ROUNDS), String(FIRST_VERSION)]);
const committed = JSON.parse(await writer.line()) as number[];
const received = JSON.parse(await client.line()) as number[];
await page.waitForFunction((n) => (window as unknown as { shown: number[] }).shown.length >= n, ROUNDS);
const shown = await page.evaluate(() => (window as unknown as { shown: number[] }).shown);

const measured = commit();
const machine = `${cpus()[0]?.model ?? "?"}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`;
console.log(`${machine}; commit ${measured}`);
console.log(`${"ms from the commit's answer to".padEnd(34)}      p50      p90      p99`);
const since = (moments: readonly number[]): number[] => committed.map((at, n) => (moments[n] ?? NaN) - at);
report("a plain WebSocket client", since(received));
report("the DOM of a page in Chromium", since(shown));
if (RESULTS) writeFileSync(RESULTS, `${JSON.stringify({ commit: measured, machine, medians }, null, 2)}\n`);

await Promise.all([browser.close(), site.close(), server.stop(), client.stop(), writer.stop()]);
await stage.stop();
