/** Tokens, against a server that wants them: what passes by itself heals, and what does not is reported once. */
import { createHmac } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Client, type ClientOptions, createClient } from "../../packages/realtime/src/index.js";
import { freePort, type Program, startServer, startStage } from "./harness.js";

let stage: Program;
let dsn: string;
let server: Program;
let url: string;
let client: Client;

beforeAll(async () => {
  ({ stage, dsn } = await startStage());
  const port = await freePort();
  server = await startServer(dsn, port, "tests.e2e.guarded:realtime");
  url = `ws://127.0.0.1:${port}/realtime`;
});
afterEach(() => client.close());
afterAll(async () => {
  await server.stop();
  await stage.stop();
});

const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
const jwt = (seconds: number, secret = "a secret of thirty-two characters", claims: object = {}) => {
  const now = Math.floor(Date.now() / 1000);
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: "ada", iat: now, exp: now + seconds, ...claims })}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
};

const connect = (token?: ClientOptions["token"]) => {
  const reports: string[] = [];
  let sockets = 0;
  class Counted extends WebSocket {
    constructor(address: string) {
      super(address);
      sockets += 1;
    }
  }
  const onError = (error: unknown) => void reports.push(String(error));
  client = createClient({ url, onError, WebSocket: Counted, ...(token && { token }) });
  client.subscribe("item_update", () => undefined);
  return { reports, sockets: () => sockets, status: () => client.connection.get().status, fresh: () => client.connection.get().fresh };
};

test("a token is renewed on the open connection, which outlives three of them", async () => {
  let calls = 0;
  const { reports, sockets, fresh } = connect(() => (calls++, jwt(3)));
  await expect.poll(() => calls, { timeout: 20_000 }).toBeGreaterThan(3);
  expect([fresh(), sockets(), reports]).toEqual([true, 1, []]);
});

test.each<[string, () => string | null]>([
  ["expired, as from a cache", () => jwt(-100)],
  ["of a clock that is ahead", () => jwt(600, undefined, { nbf: Math.floor(Date.now() / 1000) + 300 })],
])("a token that is %s is passing: the client goes on until there is a good one", async (_, bad) => {
  let calls = 0;
  const { status, fresh } = connect(() => (++calls < 4 ? bad() : jwt(60)));
  await expect.poll(fresh, { timeout: 20_000 }).toBe(true);
  expect([status(), calls]).toEqual(["open", 4]);
});

test.each<[string, () => string | null]>([
  ["signed with an old key", () => jwt(60, "another secret of thirty-two char")],
  ["missing at first", () => null],
])("a token that is %s is fetched once more", async (_, bad) => {
  let calls = 0;
  const { fresh, reports } = connect(() => (++calls < 2 ? bad() : jwt(60)));
  await expect.poll(fresh, { timeout: 20_000 }).toBe(true);
  expect([calls, reports]).toEqual([2, []]);
});

test.each<[string, ClientOptions["token"], RegExp]>([
  ["is never valid", () => jwt(60, "another secret of thirty-two char"), /\(4500\): invalid token/],
  ["is missing", undefined, /\(4501\): (no token in time|a token is required)/],
  ["is never there", () => "", /\(4501\): (no token in time|a token is required)/],
])("a token that %s stops the client once, with the cause", async (_, token, cause) => {
  const { status, reports } = connect(token);
  await expect.poll(status, { timeout: 20_000 }).toBe("stopped");
  expect(reports).toEqual([expect.stringMatching(cause)]);
});
