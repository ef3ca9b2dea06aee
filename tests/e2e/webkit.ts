/** WebKit, as WebKitGTK's MiniBrowser in a screen of its own, driven by WebDriver (https://w3c.github.io/webdriver/). */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { type AddressInfo, createServer } from "node:net";

const ARCHITECTURE = process.arch === "arm64" ? "aarch64" : "x86_64";
export const MINI_BROWSER = `/usr/lib/${ARCHITECTURE}-linux-gnu/webkit2gtk-4.1/MiniBrowser`;

/** A path of a session, and what is posted there, or another method. */
type Step = readonly [string, object | "GET" | "DELETE"];

export class WebKit {
  readonly #children: readonly ChildProcess[];
  readonly #session: string;
  /** The window that is there from the start, and stays: without a present window no other can be opened. */
  #first = "";
  /** One window at a time has WebDriver's attention. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(children: readonly ChildProcess[], session: string) {
    [this.#children, this.#session] = [children, session];
  }

  static async start(program: string, environment: Record<string, string> = {}): Promise<WebKit> {
    const screen = spawn("Xvfb", ["-displayfd", "3", "-screen", "0", "1024x768x24", "-nolisten", "tcp"], { stdio: ["ignore", "ignore", "ignore", "pipe"] });
    const [number] = (await once(createInterface({ input: screen.stdio[3] as NodeJS.ReadableStream }), "line")) as [string];
    const probe = createServer().listen(0, "127.0.0.1");
    await once(probe, "listening");
    const { port } = probe.address() as AddressInfo;
    await new Promise((resolve) => probe.close(resolve));
    const driver = spawn(program, [`--port=${port}`], { stdio: "ignore", env: { ...process.env, ...environment, DISPLAY: `:${number}`, WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1" } });
    const address = `http://127.0.0.1:${port}/session`;
    const browserOptions = { binary: MINI_BROWSER, args: ["--automation"] };
    const capabilities = { alwaysMatch: { "webkitgtk:browserOptions": browserOptions } };
    for (;;) {
      if (driver.exitCode !== null) throw new Error(`${program} ended`);
      const answer = await fetch(address, { method: "POST", body: JSON.stringify({ capabilities }) }).catch(() => undefined);
      if (answer === undefined) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        continue;
      }
      const { value } = (await answer.json()) as { value: { sessionId?: string; message?: string } };
      if (value.sessionId === undefined) throw new Error(value.message);
      const webkit = new WebKit([driver, screen], `${address}/${value.sessionId}`);
      webkit.#first = (await webkit.#send("window", "GET")) as string;
      return webkit;
    }
  }

  async open(url: string): Promise<WebKitPage> {
    const { handle } = (await this.#inTurn(this.#first, [["window/new", { type: "tab" }]])) as { handle: string };
    const page = new WebKitPage((steps) => this.#inTurn(handle, steps));
    await page.run([["url", { url }]]);
    return page;
  }

  async close(): Promise<void> {
    await fetch(this.#session, { method: "DELETE" }).catch(() => undefined);
    for (const child of this.#children) {
      const ended = once(child, "exit");
      if (child.exitCode === null && child.kill()) await ended;
    }
  }

  #inTurn(handle: string, steps: readonly Step[]): Promise<unknown> {
    const done = this.#turn.then(async () => {
      await this.#send("window", { handle });
      let last: unknown;
      for (const [path, body] of steps) last = await this.#send(path, body);
      return last;
    });
    this.#turn = done.catch(() => undefined);
    return done;
  }

  async #send(path: string, body: Step[1]): Promise<unknown> {
    const options = typeof body === "string" ? { method: body } : { method: "POST", body: JSON.stringify(body) };
    const answer = await fetch(`${this.#session}/${path}`, options);
    const { value } = (await answer.json()) as { value: unknown };
    if (!answer.ok) throw new Error(`${path}: ${JSON.stringify(value)}`);
    return value;
  }
}

/** Sessions of WebKit, each with one storage: a context is a session that no other context uses. */
export class WebKits {
  readonly #program: string;
  readonly #all: WebKit[];
  readonly #free: WebKit[];
  readonly #used = new Map<string, { readonly session: WebKit; readonly pages: WebKitPage[] }>();
  #count = 0;

  private constructor(program: string, first: WebKit) {
    this.#program = program;
    [this.#all, this.#free] = [[first], [first]];
  }

  static start = async (program: string): Promise<WebKits> => new WebKits(program, await WebKit.start(program));

  async createContext(): Promise<string> {
    const context = String(++this.#count);
    let session = this.#free.pop();
    if (!session) this.#all.push((session = await WebKit.start(this.#program)));
    this.#used.set(context, { session, pages: [] });
    return context;
  }

  async closeContext(context: string): Promise<void> {
    const used = this.#used.get(context);
    if (!used || !this.#used.delete(context)) return;
    for (const page of used.pages) await page.close().catch(() => undefined); // the test may have closed it
    this.#free.push(used.session);
  }

  async open(url: string, context: string): Promise<WebKitPage> {
    const used = this.#used.get(context);
    if (!used) throw new Error(`no context ${context}`);
    const page = await used.session.open(url);
    used.pages.push(page);
    return page;
  }

  async close(): Promise<void> {
    await Promise.all(this.#all.map((session) => session.close()));
  }
}

export class WebKitPage {
  readonly run: (steps: readonly Step[]) => Promise<unknown>;

  constructor(run: WebKitPage["run"]) {
    this.run = run;
  }

  /** The value of an expression, passed as JSON; a promise is awaited. */
  async evaluate<T>(expression: string): Promise<T> {
    const script = `const done = arguments[0]; Promise.resolve(${expression}).then((value) => done(JSON.stringify(value ?? null)));`;
    return JSON.parse(String(await this.run([["execute/async", { script, args: [] }]]))) as T;
  }

  async goto(url: string): Promise<void> {
    await this.run([["url", { url }]]);
  }

  async close(): Promise<void> {
    await this.run([["window", "DELETE"]]);
  }
}
