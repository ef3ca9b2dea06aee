/** Firefox, driven by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/) without another program; only what the tests need. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

type Answer = { readonly id?: number; readonly result?: unknown; readonly error?: string; readonly message?: string };
type Value = { readonly type: string; readonly value?: unknown };

export class Firefox {
  readonly #child: ChildProcess;
  readonly #profile: string;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #count = 0;

  private constructor(child: ChildProcess, profile: string, socket: WebSocket) {
    [this.#child, this.#profile, this.#socket] = [child, profile, socket];
    socket.onmessage = ({ data }: MessageEvent<string>) => {
      const answer = JSON.parse(data) as Answer;
      if (answer.id !== undefined) this.#waiting.get(answer.id)?.(answer);
    };
  }

  /** Start it without a window, with a profile of its own. */
  static async start(program: string): Promise<Firefox> {
    const profile = mkdtempSync(join(tmpdir(), "firefox-"));
    const child = spawn(program, ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, HOME: profile, MOZ_DISABLE_AUTO_SAFE_MODE: "1" },
    });
    let address: string | undefined;
    for await (const line of createInterface({ input: child.stderr })) {
      address = /WebDriver BiDi listening on (ws:\S+)/.exec(line)?.[1];
      if (address !== undefined) break;
    }
    if (address === undefined) throw new Error("Firefox ended before it listened");
    child.stderr.resume();
    const socket = new WebSocket(`${address}/session`);
    await once(socket, "open");
    const firefox = new Firefox(child, profile, socket);
    await firefox.#send("session.new", { capabilities: {} });
    return firefox;
  }

  /** A context with a storage of its own. */
  async createContext(): Promise<string> {
    return ((await this.#send("browser.createUserContext", {})) as { userContext: string }).userContext;
  }

  async closeContext(userContext: string): Promise<void> {
    await this.#send("browser.removeUserContext", { userContext });
  }

  async open(url: string, userContext = "default"): Promise<FirefoxPage> {
    const create = () => this.#send("browsingContext.create", { type: "tab", userContext }) as Promise<{ context: string }>;
    // While the tab beside which it opens the new one is closing, Firefox answers that there is no such frame.
    const { context } = await create().catch((error: unknown) => {
      if (String(error).includes("no such frame")) return create();
      throw error;
    });
    const page = new FirefoxPage((method, params) => this.#send(method, params), context);
    await page.goto(url);
    return page;
  }

  async close(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill();
    await ended;
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  async #send(method: string, params: object): Promise<unknown> {
    const id = ++this.#count;
    const answered = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve));
    this.#socket.send(JSON.stringify({ id, method, params }));
    const answer = await answered;
    this.#waiting.delete(id);
    if (answer.error !== undefined) throw new Error(`${method}: ${answer.error}: ${answer.message ?? ""}`);
    return answer.result;
  }
}

export class FirefoxPage {
  readonly #context: string;
  readonly #send: (method: string, params: object) => Promise<unknown>;

  constructor(send: (method: string, params: object) => Promise<unknown>, context: string) {
    [this.#send, this.#context] = [send, context];
  }

  async goto(url: string): Promise<void> {
    await this.#send("browsingContext.navigate", { context: this.#context, url, wait: "complete" });
  }

  /** The value of an expression, passed as JSON; a promise is awaited. */
  async evaluate<T>(expression: string): Promise<T> {
    const answer = (await this.#send("script.evaluate", {
      expression: `Promise.resolve(${expression}).then((value) => JSON.stringify(value ?? null))`,
      target: { context: this.#context },
      awaitPromise: true,
    })) as { type: string; result?: Value; exceptionDetails?: { text: string } };
    if (answer.type !== "success") throw new Error(answer.exceptionDetails?.text ?? expression);
    return JSON.parse(String(answer.result?.value)) as T;
  }

  async close(): Promise<void> {
    await this.#send("browsingContext.close", { context: this.#context });
  }
}
