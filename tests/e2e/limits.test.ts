/** Names and limits, against a real server: each subscription has its own answer. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Client, createClient } from "../../packages/realtime/src/index.js";
import { freePort, type Program, psql, startServer, startStage } from "./harness.js";

let stage: Program;
let dsn: string;
let server: Program;
let url: string;
let client: Client;

beforeAll(async () => {
  ({ stage, dsn } = await startStage());
  const port = await freePort();
  server = await startServer(dsn, port, "tests.e2e.small:realtime");
  url = `ws://127.0.0.1:${port}/realtime`;
});
afterEach(() => client.close());
afterAll(async () => {
  await server.stop();
  await stage.stop();
});

/** A client, what its subscriptions are told, and a wait until that fits. */
const connect = () => {
  const told = new Map<string, string>();
  const unhandled: unknown[] = [];
  client = createClient({ url, onError: (error) => unhandled.push(error) });
  const subscribe = (channel: unknown, key = String(channel)) => {
    told.set(key, "");
    const note = (news: string) => void told.set(key, news);
    return client.subscribe(channel as string, () => undefined, {
      onError: ({ code }) => note(code),
      onFresh: (fresh) => note(fresh ? "live" : ""),
    });
  };
  const count = (news: string) => [...told.values()].filter((one) => one === news).length;
  return { told, unhandled, subscribe, count };
};
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => `items.${from + n}`);

test("bad names, unknown ones and one too many harm no other in the same tick", async () => {
  const { told, unhandled, subscribe, count } = connect();
  const bad = [undefined, null, 7, "", {}, "Items.1", `items.${"7".repeat(65)}`];
  const unknown = ["nothing.1", `${"n".repeat(48)}.${"i".repeat(64)}`];
  for (const [n, name] of [...bad, ...unknown].entries()) subscribe(name, `bad ${n}`);
  for (const name of range(0, 9)) subscribe(name); // the server allows 8
  await expect.poll(() => [count("live"), count("")]).toEqual([8, 0]);
  expect(bad.map((_, n) => told.get(`bad ${n}`))).toEqual(bad.map(() => "bad_channel"));
  expect(unknown.map((_, n) => told.get(`bad ${n + bad.length}`))).toEqual(["forbidden", "forbidden"]);
  expect(told.get("items.8")).toBe("limit_exceeded");
  expect(client.connection.get()).toMatchObject({ status: "open", fresh: true });
  expect(unhandled).toEqual([]);
});

test("a page of as many channels as there may be is left for another such page at once", async () => {
  const { told, subscribe, count } = connect();
  const leave = range(0, 8).map((name) => subscribe(name));
  await expect.poll(() => count("live")).toBe(8);
  for (const stop of leave) stop();
  told.clear();
  for (const name of range(100, 108)) subscribe(name);
  await expect.poll(() => count("live"), { timeout: 900 }).toBe(8); // the channels linger for a second
  const [stop] = range(100, 101).map((name) => subscribe(name, "second handler"));
  subscribe("items.200");
  await expect.poll(() => told.get("items.200")).toBe("limit_exceeded");
  stop?.();
  expect(told.get("items.200")).toBe("limit_exceeded");
});

test("what was refused for want of room is live as soon as another leaves", async () => {
  const { told, subscribe, count } = connect();
  const stops = range(0, 10).map((name) => subscribe(name));
  await expect.poll(() => count("limit_exceeded")).toBe(2);
  for (const stop of stops.slice(0, 2)) stop();
  await expect.poll(() => range(2, 10).filter((name) => told.get(name) === "live").length).toBe(8);
});

test("far more transactions than may wait all settle, also those that commit last", async () => {
  const { subscribe, count } = connect();
  subscribe("item_update");
  await expect.poll(() => count("live")).toBe(1);
  const first = Number(await psql(dsn, "select pg_current_xact_id()"));
  let settled = 0;
  const all = Array.from({ length: 120 }, (_, n) => client.settled(first + 1 + n).then(() => settled++));
  const commit = "begin; update items set version = version + 1 where id = 1; commit; ";
  for (let round = 0; round < 6; round++) await psql(dsn, commit.repeat(20));
  await Promise.all(all);
  expect(settled).toBe(120);
});
