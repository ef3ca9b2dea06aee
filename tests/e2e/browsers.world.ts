/**
 * The main promises in Firefox and in WebKit, where these are installed (Debian: apt install firefox-esr webkit2gtk-driver xvfb).
 * `tests/e2e/*.test.ts` are in Chromium; those with pages run in the engines too, by `vitest.engines.config.ts`.
 */
import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { Firefox } from "./firefox.js";
import { type Gatekeeper, type Manner, startBehindGatekeeper } from "./gatekeeper.js";
import { expectInOrder, FIREFOX, Program, psql, startDemo, startServer, WEBKIT } from "./harness.js";
import type { Seen } from "./page/main.js";
import { MINI_BROWSER, WebKit } from "./webkit.js";

type Tab = { readonly evaluate: <T>(expression: string) => Promise<T>; readonly close: () => Promise<void> };
type Engine = { readonly open: (url: string) => Promise<Tab>; readonly close: () => Promise<void> };

const ENGINES: readonly (readonly [string, boolean, () => Promise<Engine>])[] = [
  ["Firefox", existsSync(FIREFOX), () => Firefox.start(FIREFOX)],
  ["WebKit", [WEBKIT, MINI_BROWSER, "/usr/bin/Xvfb"].every((file) => existsSync(file)), () => WebKit.start(WEBKIT)],
];

let dsn: string;
let server: Program;
let behind: number;
let port: number;
let gatekeeper: Gatekeeper;
let close: () => Promise<void>;
let address: string;
let engine: Engine;

describe.each(ENGINES)("in %s", (name, isThere, start) => {
  if (!isThere) {
    test.skip("it is not installed");
    return;
  }

  beforeAll(async () => {
    [{ dsn, address, server, behind, gatekeeper, port, close }, engine] = await Promise.all([startBehindGatekeeper(), start()]);
  });

  afterAll(async () => {
    await engine.close();
    await server.stop();
    await close();
  });

  test.runIf(name === "WebKit")("the demo under LANG=C.UTF-8, whose language a library takes for an error, has all but its plot", async () => {
    const [{ demo, page }, webkit] = await Promise.all([startDemo(), WebKit.start(WEBKIT, { LANG: "C.UTF-8", LC_ALL: "C.UTF-8" })]);
    onTestFinished(() => Promise.all([webkit.close(), demo.stop()]).then(() => undefined));
    const tab = await webkit.open(page);
    await expect.poll(() => tab.evaluate<string>("document.querySelector('[data-testid=badge]')?.dataset.health"), { timeout: 30_000 }).toBe("live");
    expect(await tab.evaluate("navigator.language")).toBe("C");
    await expect.poll(() => tab.evaluate<string>("document.body.innerText"), { timeout: 20_000 }).toContain("This could not be loaded");
    expect(await tab.evaluate("document.querySelector('[data-testid=counter-succeeded]')?.textContent")).toMatch(/^[\d,]+$/);
  });

  const seen = (page: Tab) => page.evaluate<Seen>("window.seen");
  const fresh = (page: Tab) => expect.poll(() => page.evaluate<string>("document.body.innerText"), { timeout: 30_000 }).toContain("open fresh");
  const visit = async (options = "") => {
    const page = await engine.open(`${address}?fallback${options}&ws=ws://127.0.0.1:${port}/realtime`);
    await fresh(page);
    return page;
  };

  test("a transaction is rendered once, over a WebSocket", async () => {
    gatekeeper.manner = "passes";
    const page = await visit();
    const before = (await seen(page)).renders.length;
    await psql(dsn, "begin; update items set version = 101 where id = 1; update items set version = 102 where id = 2; commit");
    await expect.poll(async () => (await seen(page)).renders.slice(before)).toEqual(['{"1":101,"2":102}']);
    expect(gatekeeper.passed).toBeGreaterThan(0);
    await page.close();
  });

  test.each(["passes", "refuses"] as const)("the server is killed under 300 commits; the page ends complete, once, in order: a proxy that %s", async (manner) => {
    gatekeeper.manner = manner;
    await psql(dsn, "update items set version = 0");
    const page = await visit();
    const began = (await seen(page)).events.length;
    const writer = new Program(["-m", "tests.e2e.writer", dsn, "300"]);
    await writer.until((line) => Number(line) >= 100);
    await server.stop("SIGKILL");
    await writer.until((line) => Number(line) >= 150);
    server = await startServer(dsn, behind);
    await writer.ended();
    await expect.poll(async () => (await seen(page)).events.length - began, { timeout: 30_000 }).toBe(300);
    const events = (await seen(page)).events.slice(began);
    expectInOrder(events);
    await page.close();
  });

  // Firefox delays a new WebSocket to a host that has just refused one, longer each time and across pages.
  test.each<Manner>(["refuses", "hangs", "swallows", "ends"])("a proxy that %s is passed within 3 s, on every one of six visits", async (manner) => {
    gatekeeper.manner = manner;
    for (let n = 0; n < 6; n++) {
      const page = await visit();
      expect((await seen(page)).liveAfter).toBeLessThan(3_000);
      await page.close();
    }
  });

  test("after an outage of some seconds the page is live again", async () => {
    gatekeeper.manner = "passes";
    const page = await visit();
    await server.stop("SIGKILL");
    await expect.poll(() => page.evaluate<string>("document.body.innerText")).not.toContain("fresh");
    await new Promise((resolve) => setTimeout(resolve, 6_000)); // the outage itself
    server = await startServer(dsn, behind);
    await fresh(page);
    await page.close();
  });
});
