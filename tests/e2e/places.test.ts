/** Workers and frames without an address of their own: `createClient()` finds the server of their page. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser } from "playwright-core";
import { rolldown } from "rolldown";
import type { PreviewServer } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort, open, type Program, psql, root, startBrowser, startPage, startServer, startStage } from "./harness.js";

let stage: Program;
let dsn: string;
let server: Program;
let site: PreviewServer;
let address: string;
let browser: Browser;
let script: string;
let webSocket: string;

/** Reports through `report` when it is live, the first event, and errors. */
const CLIENT = `
  import { createClient } from "${root}packages/realtime/src/index.ts";
  const client = createClient({ ...globalThis.realtime, onError: (error) => report("error " + error) });
  client.subscribe("item_update", (item) => report("version " + item.version), { onFresh: (fresh) => report(fresh ? "live" : "stale") });
`;

beforeAll(async () => {
  const port = await freePort();
  const target = `http://127.0.0.1:${port}`;
  webSocket = `ws://127.0.0.1:${port}/realtime`;
  let folder: string;
  [{ stage, dsn }, { site, address, folder }, browser] = await Promise.all([
    startStage(),
    startPage(undefined, { "/realtime": { target, ws: true } }),
    startBrowser(),
  ]);
  server = await startServer(dsn, port);
  const entry = "\0place";
  const virtual = { name: "place", resolveId: (id: string) => (id === "place" ? entry : null), load: (id: string) => (id === entry ? CLIENT : null) };
  const bundle = await rolldown({ input: "place", plugins: [virtual], resolve: { extensionAlias: { ".js": [".ts", ".js"] } } });
  const { output } = await bundle.generate({ codeSplitting: false, format: "iife" });
  script = output[0].code;
  writeFileSync(join(folder, "worker.js"), `const report = (text) => postMessage(text);\n${script}`);
  const reports = `const report = async (text) => { for (const page of await clients.matchAll({ includeUncontrolled: true })) page.postMessage(text); };`;
  writeFileSync(join(folder, "service-worker.js"), `${reports}\n${script}`);
});

afterAll(async () => {
  await browser.close();
  await site.close();
  await server.stop();
  await stage.stop();
});

const PLACES: Readonly<Record<string, (script: string) => void>> = {
  "a worker": () => {
    const worker = new Worker("/worker.js");
    worker.onmessage = ({ data }: MessageEvent<string>) => window.place.push(data);
  },
  "a service worker": () => {
    navigator.serviceWorker.onmessage = ({ data }: MessageEvent<string>) => window.place.push(data);
    void navigator.serviceWorker.register("/service-worker.js");
  },
  "a worker made from a blob": (script) => {
    const source = `const report = (text) => postMessage(text);\n${script}`;
    const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<string>) => window.place.push(data);
  },
  "a shared worker made from a blob": (script) => {
    const source = `const ports = []; const told = [];
      onconnect = ({ ports: [port] }) => { ports.push(port); for (const text of told) port.postMessage(text); };
      const report = (text) => { told.push(text); for (const port of ports) port.postMessage(text); };\n${script}`;
    const worker = new SharedWorker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })), { type: "module" });
    worker.port.onmessage = ({ data }: MessageEvent<string>) => window.place.push(data);
  },
  "a frame with srcdoc": (script) => {
    const frame = document.createElement("iframe");
    const source = `const report = (text) => parent.postMessage(text, "*");\n${script}`;
    addEventListener("message", ({ data }: MessageEvent<string>) => window.place.push(data));
    frame.srcdoc = `<script type="module">${source.replaceAll("</", "<\\/")}</script>`;
    document.body.append(frame);
  },
};

declare global {
  interface Window {
    place: string[];
  }
}

test.each(Object.keys(PLACES))("%s is live and receives a commit", async (name) => {
  const { page } = await open(browser, `${address}?ws=ws://127.0.0.1:1/realtime`);
  await page.evaluate(() => void (window.place = []));
  const begin = PLACES[name];
  if (begin) await page.evaluate(begin, script);
  await page.waitForFunction(() => window.place.length > 0);
  expect(await page.evaluate(() => window.place)).toEqual(["live"]);
  await psql(dsn, "update items set version = version + 1 where id = 1");
  await page.waitForFunction(() => window.place.length > 1);
  expect(await page.evaluate(() => window.place[1])).toMatch(/^version \d+$/);
  await page.close();
});

test("a frame in a sandbox reports once why it cannot", async () => {
  const { page } = await open(browser, `${address}?ws=ws://127.0.0.1:1/realtime`);
  await page.evaluate((script) => {
    window.place = [];
    addEventListener("message", ({ data }: MessageEvent<string>) => window.place.push(data));
    const frame = document.createElement("iframe");
    frame.setAttribute("sandbox", "allow-scripts");
    const source = `const report = (text) => parent.postMessage(text, "*");\n${script}`;
    frame.srcdoc = `<script type="module">${source.replaceAll("</", "<\\/")}</script>`;
    document.body.append(frame);
  }, script);
  await page.waitForFunction(() => window.place.length > 0);
  expect(await page.evaluate(() => window.place)).toEqual([expect.stringContaining("createClient({ url")]);
  await page.close();
});

test("a page from a file, as Electron loads it, is live with an address", async () => {
  const folder = mkdtempSync(join(tmpdir(), "place-"));
  const place = `window.place = []; window.realtime = { url: "${webSocket}" }; const report = (text) => window.place.push(text);`;
  writeFileSync(join(folder, "index.html"), `<!doctype html><script>${place}</script><script>${script.replaceAll("</", "<\\/")}</script>`);
  const { page } = await open(browser, pathToFileURL(join(folder, "index.html")).href);
  await page.waitForFunction(() => window.place.length > 0);
  expect(await page.evaluate(() => window.place)).toEqual(["live"]);
  await page.close();
  rmSync(folder, { recursive: true });
});
