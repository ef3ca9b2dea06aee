/** What the browser tests stand on: a database, servers that can be killed, a page and a browser. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer as createWebServer, type Server } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";
import { type Browser, chromium, type Page } from "playwright-core";
import react from "@vitejs/plugin-react";
import { rolldown } from "rolldown";
import { build, type InlineConfig, preview, type PreviewServer } from "vite";
import { expect } from "vitest";
import { Firefox } from "./firefox.js";
import type { Item } from "./page/main.js";
import { asBrowser } from "./pages.js";
import { WebKits } from "./webkit.js";

export const root = fileURLToPath(new URL("../..", import.meta.url));

const CHROMIUM_FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export type Surroundings = {
  readonly environment?: Record<string, string>;
  readonly cwd?: string;
  readonly command?: string;
};

/** A child process whose lines can be awaited; what it says on standard error is shown if it fails. */
export class Program {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #complaints = "";

  constructor(
    args: readonly string[],
    { environment = {}, cwd = root, command = `${root}.venv/bin/python` }: Surroundings = {},
  ) {
    this.#child = spawn(command, args, { cwd, env: { ...process.env, ...environment } });
    this.#child.stderr?.on("data", (text: Buffer) => (this.#complaints += text.toString()));
    if (!this.#child.stdout) throw new Error("no standard output");
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** The next line that it prints. */
  async line(): Promise<string> {
    const next = await this.#lines.next();
    if (next.done) throw new Error(`it ended without a word\n${this.#complaints}`);
    return next.value;
  }

  /** Read until a line is found that fits. */
  async until(fits: (line: string) => boolean): Promise<string> {
    for (;;) {
      const line = await this.line();
      if (fits(line)) return line;
    }
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill(signal);
    await exited;
  }

  async ended(): Promise<void> {
    if (this.#child.exitCode === null) await once(this.#child, "exit");
    if (this.#child.exitCode !== 0) throw new Error(`exit ${this.#child.exitCode}\n${this.#complaints}`);
  }
}

/** The example as `make demo` starts it, with nobody who triggers flows, and the addresses that it prints. */
export const startDemo = async (): Promise<{ demo: Program; page: string; webSocket: string; dsn: string }> => {
  const demo = new Program(["-m", "examples.flowcraft.demo"], { environment: { PORT: "0", DEMO_QUIET: "1" } });
  const address = async () => (await demo.line()).split(/\s+/)[1] ?? "";
  return { demo, page: await address(), webSocket: await address(), dsn: await address() };
};

export const startStage = async (...options: string[]): Promise<{ stage: Program; dsn: string }> => {
  const stage = new Program(["-m", "tests.e2e.stage", ...options]);
  const { dsn } = JSON.parse(await stage.line()) as { dsn: string };
  return { stage, dsn };
};

/** The command, as somebody would type it in a folder. */
export const flowcraft = (args: readonly string[], dsn: string, cwd = root): Program =>
  new Program(args, { environment: { DATABASE_URL: dsn }, cwd, command: `${root}.venv/bin/flowcraft` });

/** `flowcraft serve`, once it accepts connections: Node 20's WebSocket has no `close` event for one that is answered 503. */
export const startServer = async (
  dsn: string,
  port: number,
  app = "tests.e2e.app:realtime",
  cwd = root,
): Promise<Program> => {
  const server = flowcraft(["serve", app, "--port", String(port)], dsn, cwd);
  await server.until((line) => line.includes(`:${port}/realtime`));
  const accepts = () => fetch(`http://127.0.0.1:${port}/readyz`).then(({ ok }) => ok, () => false);
  while (!(await accepts())) await new Promise((resolve) => setTimeout(resolve, 20));
  return server;
};

export const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
};

/** Run SQL as a person at a terminal would. */
export const psql = async (dsn: string, sql: string): Promise<string> =>
  new Promise((resolve, reject) => {
    execFile("psql", ["-X", "-qAt", "-v", "ON_ERROR_STOP=1", dsn, "-c", sql], (error, stdout, stderr) => {
      if (error) reject(new Error(stderr || error.message));
      else resolve(stdout.trim());
    });
  });

/** Build the page in a folder and serve it; `proxy` leads its `/realtime` to a server. */
export const startPage = async (
  source = fileURLToPath(new URL("page", import.meta.url)),
  proxy: Record<string, { target: string; ws: boolean }> = {},
): Promise<{ site: PreviewServer; address: string; folder: string }> => {
  const outDir = `${root}build/e2e-${createHash("sha256").update(source).digest("hex").slice(0, 8)}`;
  const config: InlineConfig = {
    configFile: false,
    root: source,
    logLevel: "warn",
    plugins: [react()],
    build: { outDir, emptyOutDir: true },
    preview: { port: await freePort(), host: "127.0.0.1", strictPort: true, proxy },
  };
  await build(config);
  const site = await preview(config);
  const address = site.resolvedUrls?.local[0] ?? site.resolvedUrls?.network[0];
  if (address === undefined) throw new Error("the page is nowhere");
  return { site, address, folder: outDir };
};

/** Serve a page with one script of `page/` and nothing else, from an origin of its own. */
export const startBarePage = async (source = "bare.ts"): Promise<{ site: Server; address: string }> => {
  const input = fileURLToPath(new URL(`page/${source}`, import.meta.url));
  const bundle = await rolldown({ input, resolve: { extensionAlias: { ".js": [".ts", ".js"] } } });
  const { output } = await bundle.generate({ codeSplitting: false, format: "iife" });
  const html = `<!doctype html><script>${output[0].code.replaceAll("</", "<\\/")}</script>`;
  const site = createWebServer((_, answer) => answer.setHeader("Content-Type", "text/html").end(html));
  site.listen(0, "127.0.0.1");
  await once(site, "listening");
  return { site, address: `http://127.0.0.1:${(site.address() as AddressInfo).port}/` };
};

/** Of each item the versions 1, 2, 3 … have come, in this order. */
export const expectInOrder = (events: readonly Item[]): void => {
  for (const id of new Set(events.map((item) => item.item_id))) {
    const versions = events.filter((item) => item.item_id === id).map((item) => item.version);
    expect(versions).toEqual(versions.map((_, n) => n + 1));
  }
};

/** Where Firefox and WebKit are; `FIREFOX` is empty where setup found none. */
export const FIREFOX = process.env["FIREFOX"] ?? "/usr/bin/firefox-esr";
export const WEBKIT = "/usr/bin/WebKitWebDriver";

/** Chromium, or the engine that `ENGINE` names: then pages have the part of the interface that `pages.ts` has. */
export const startBrowser = async (): Promise<Browser> => {
  if (process.env["ENGINE"] === "firefox") return asBrowser(await Firefox.start(FIREFOX));
  if (process.env["ENGINE"] === "webkit") return asBrowser(await WebKits.start(WEBKIT));
  return startChromium();
};

const startChromium = (): Promise<Browser> =>
  chromium.launch({ executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium", args: CHROMIUM_FLAGS });

/** Open a page; what goes wrong in it fails the test that asks. */
export const open = async (browser: Browser, address: string): Promise<{ page: Page; errors: string[] }> => {
  const page = await browser.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(address);
  return { page, errors };
};
