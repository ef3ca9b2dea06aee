/**
 * What events cost a page, in processor time of its main thread: one transaction of 5,000 events, and fifty components
 * that show the latest of them; events of about 1 KB each, compressed and not, with what they take on the wire; and 100
 * changes a second of a table with 10,000 rows, which one component shows.
 */
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import type { CDPSession, Page } from "playwright-core";
import type {} from "./burst/main.js";
import { flowcraft, freePort, open, psql, startBrowser, startPage, startServer, startStage } from "../tests/e2e/harness.js";
import { commit } from "./commit.js";
import { CountedWire } from "../tests/e2e/wire.js";

process.env["NODE_ENV"] = "production"; // of the page: with React as it is deployed

const ROUNDS = Number(process.argv[2] ?? 7);
const RESULTS = process.argv[3];
const EVENTS = 5_000;
const ROWS = 10_000;
const CHANGES = 300;
const CHANGES_PER_SECOND = 100;

const [{ stage, dsn }, { site, address }, browser, port] = await Promise.all([
  startStage(),
  startPage(fileURLToPath(new URL("burst", import.meta.url))),
  startBrowser(),
  freePort(),
]);
const server = await startServer(dsn, port);

/** A page at its starting point, and what it has spent so far. */
const opened = async (query: Readonly<Record<string, string>>, webSocket: number) => {
  const search = new URLSearchParams({ ...query, ws: `ws://127.0.0.1:${webSocket}/realtime` });
  const { page } = await open(browser, `${address}?${search}`);
  await page.getByText("open").waitFor();
  const devtools = await page.context().newCDPSession(page);
  // Processor time: on a machine that has more to do, a page is slower and costs the same.
  await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
  return { page, devtools };
};

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
  const { page, devtools } = await opened({ hook, cursor: await psql(dsn, "select flowcraft.cursor()") }, port);
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
  const { page, devtools } = await opened({ hook: "state", cursor: await psql(dsn, "select flowcraft.cursor()") }, wire.port);
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

const tables = await startStage("--empty");
await psql(
  tables.dsn,
  `create table tasks (id int primary key, team_id int not null, title text not null, archived boolean not null default false);
   create index on tasks (team_id);
   insert into tasks select n, 1, 'task ' || n from generate_series(1, ${ROWS}) as n`,
);
await flowcraft(["migrate", "tests.e2e.tasks:channels"], tables.dsn).ended();
const rowsPort = await freePort();
const rowsServer = await startServer(tables.dsn, rowsPort, "tests.e2e.tasks:realtime");

/** Milliseconds of script for each time that a page has rendered its rows, while single rows of them change. */
const changes = async (page: Page, devtools: CDPSession): Promise<number> => {
  const rendered = () => page.evaluate(() => window.rendered);
  const [before, first] = [await spentBy(devtools), await rendered()];
  await psql(
    tables.dsn,
    `do $$ begin for n in 1..${CHANGES} loop
       update tasks set title = title || '.' where id = 1 + (n * 7919) % ${ROWS};
       commit;
       perform pg_sleep(${1 / CHANGES_PER_SECOND});
     end loop; end $$`,
  );
  const [after, last] = [await spentBy(devtools), await rendered()];
  return (1000 * (after.script - before.script)) / (last - first);
};

for (const [hook, name] of [
  ["rows", "useRows"],
  ["where", "useRows that selects every other row"],
] as const) {
  const { page, devtools } = await opened({ hook }, rowsPort);
  await page.getByText("rows 1 to 20 of").waitFor();
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) rounds.push(await changes(page, devtools));
  medians[`ms of script a frame, ${CHANGES_PER_SECOND} changes a second of ${ROWS} rows, ${name}`] = median(rounds);
  await page.close();
}

const measured = commit();
const machine = `${cpus()[0]?.model ?? "?"}, ${cpus().length} cores`;
console.log(`${machine}; commit ${measured}; medians of ${ROUNDS}`);
for (const [what, value] of Object.entries(medians)) console.log(`${what.padEnd(96)} ${value.toFixed(2)}`);
if (RESULTS) writeFileSync(RESULTS, `${JSON.stringify({ commit: measured, machine, medians }, null, 2)}\n`);

await Promise.all([browser.close(), site.close(), server.stop(), rowsServer.stop()]);
await Promise.all([stage.stop(), tables.stage.stop()]);
