/** Pages of Firefox and WebKit with the part of Playwright's interface that the tests use: the same files run in all engines. */
import type { Browser, Page } from "playwright-core";

/** A tab that a driver has opened; `evaluate` returns the value of an expression, as JSON. */
export type Tab = {
  readonly goto: (url: string) => Promise<void>;
  readonly evaluate: <T>(expression: string) => Promise<T>;
  readonly close: () => Promise<void>;
};
export type Engine = {
  /** Open a tab in a context, which has a storage of its own. */
  readonly open: (url: string, context: string) => Promise<Tab>;
  readonly createContext: () => Promise<string>;
  readonly closeContext: (context: string) => Promise<void>;
  readonly close: () => Promise<void>;
};

/** How elements are found: each step from those of the last one. */
type Step =
  | { readonly css: string }
  | { readonly text: string; readonly exact: boolean }
  | { readonly role: string; readonly name: string | undefined; readonly pattern: string | undefined; readonly exact: boolean }
  | { readonly label: string; readonly exact: boolean }
  | { readonly nth: number }
  | { readonly or: readonly Step[] };
type Options = { readonly exact?: boolean };
type Wait = { readonly state?: "attached" | "detached" | "visible" | "hidden" };

const PATIENCE_MS = 30_000;
const PAUSE_MS = 50;
const rest = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));

/** In the page: the elements that the steps find. It has a name of its own there, where `find` is the browser's. */
const find = function find(steps: readonly Step[]): Element[] {
  const ROLES: Readonly<Record<string, string>> = {
    heading: "h1,h2,h3,h4,h5,h6,[role=heading]",
    button: "button,[role=button],input[type=submit]",
    link: "a[href],[role=link]",
    alert: "[role=alert]",
  };
  const plain = (text: string | null | undefined) => (text ?? "").replace(/\s+/g, " ").trim();
  const fits = (text: string, wanted: string, exact: boolean) => (exact ? text === wanted : text.toLowerCase().includes(wanted.toLowerCase()));
  const below = (scope: readonly ParentNode[], selector: string) => [...new Set(scope.flatMap((one) => [...one.querySelectorAll(selector)]))];
  const css = (scope: readonly ParentNode[], selector: string) => {
    const [, before = "", text = "", after = ""] = /^(.*):has-text\("(.*)"\)(.*)$/.exec(selector) ?? [];
    if (!before) return below(scope, selector);
    const having = below(scope, before).filter((one) => fits(plain(one.textContent), text, false));
    return after ? below(having, after) : having;
  };
  let scope: readonly ParentNode[] = [document];
  for (const step of steps) {
    if ("css" in step) scope = css(scope, step.css);
    else if ("nth" in step) scope = scope.slice(step.nth, step.nth + 1);
    else if ("or" in step) scope = scope.length ? scope : find(step.or);
    else if ("role" in step)
      scope = below(scope, ROLES[step.role] ?? `[role=${step.role}]`).filter((one) => {
        const name = plain(one.getAttribute("aria-label") ?? one.textContent);
        if (step.pattern !== undefined) return new RegExp(step.pattern).test(name);
        return step.name === undefined || fits(name, step.name, step.exact);
      });
    else if ("label" in step)
      scope = [
        ...below(scope, "[aria-label]").filter((one) => fits(plain(one.getAttribute("aria-label")), step.label, step.exact)),
        ...below(scope, "label").filter((one) => fits(plain(one.textContent), step.label, step.exact)).flatMap((one) => (one as HTMLLabelElement).control ?? []),
      ];
    else {
      // The smallest elements with the text.
      const there = [...scope.filter((one) => one instanceof Element), ...below(scope, "body, body *")];
      const having = there.filter((one) => !/^(SCRIPT|STYLE)$/.test(one.tagName) && fits(plain(one.textContent), step.text, step.exact));
      scope = having.filter((one) => !having.some((other) => other !== one && one.contains(other)));
    }
  }
  return scope as Element[];
};

/** In the page: keep what goes wrong there, to be read with the next answer. */
const watch = () => {
  const page = window as { wrongs?: string[] };
  if (page.wrongs) return;
  const wrongs: string[] = (page.wrongs = []);
  addEventListener("error", ({ message }) => wrongs.push(message));
  addEventListener("unhandledrejection", ({ reason }: PromiseRejectionEvent) => wrongs.push(String(reason)));
};

class Located {
  readonly #page: EnginePage;
  readonly #steps: readonly Step[];

  constructor(page: EnginePage, steps: readonly Step[]) {
    [this.#page, this.#steps] = [page, steps];
  }

  readonly #with = (step: Step) => new Located(this.#page, [...this.#steps, step]);
  locator = (css: string) => this.#with({ css });
  getByTestId = (id: string) => this.#with({ css: `[data-testid="${id}"]` });
  getByText = (text: string, { exact = false }: Options = {}) => this.#with({ text, exact });
  getByLabel = (label: string, { exact = false }: Options = {}) => this.#with({ label, exact });
  getByRole = (role: string, { name, exact = false }: Options & { readonly name?: string | RegExp } = {}) =>
    this.#with({ role, name: typeof name === "string" ? name : undefined, pattern: name instanceof RegExp ? name.source : undefined, exact });
  first = () => this.#with({ nth: 0 });
  nth = (nth: number) => this.#with({ nth });
  or = (other: Located) => this.#with({ or: other.#steps });

  /** Call a function in the page with the elements. */
  #all<T>(act: (elements: HTMLElement[], argument: never) => T, argument?: unknown): Promise<T> {
    return this.#page.run<T>(`(${act.toString()})((${find.toString()})(${JSON.stringify(this.#steps)}), ${JSON.stringify(argument)})`);
  }

  /** Call a function with the first element, once it is there and `act` returns something. */
  async #once<T>(act: (element: HTMLElement, argument: never) => T | null, argument?: unknown): Promise<T> {
    const expression = `((all) => (all[0] ? (${act.toString()})(all[0], ${JSON.stringify(argument)}) : null))((${find.toString()})(${JSON.stringify(this.#steps)}))`;
    return this.#page.until(() => this.#page.run<T | null>(expression), JSON.stringify(this.#steps));
  }

  async waitFor({ state = "visible" }: Wait = {}): Promise<void> {
    await this.#page.until(async () => {
      const shown = await this.#all((all) => all.map((one) => one.getClientRects().length > 0));
      const isSo = { attached: shown.length > 0, detached: !shown.length, visible: shown.includes(true), hidden: !shown.includes(true) };
      return isSo[state] || null;
    }, `${state} ${JSON.stringify(this.#steps)}`);
  }

  async click(): Promise<void> {
    await this.#once((one) => {
      if (!one.getClientRects().length || (one as HTMLButtonElement).disabled) return null;
      one.click();
      return true;
    });
  }

  async check(): Promise<void> {
    await this.#once((one) => {
      if (!(one as HTMLInputElement).checked) one.click();
      return true;
    });
  }

  async fill(text: string): Promise<void> {
    await this.#once((one, value: string) => {
      // As React expects it: its own setter would take note of the value, and no change would follow.
      Object.getOwnPropertyDescriptor(Object.getPrototypeOf(one), "value")?.set?.call(one, value);
      one.dispatchEvent(new Event("input", { bubbles: true }));
      return true;
    }, text);
  }

  textContent = () => this.#once((one) => one.textContent);
  innerText = () => this.#once((one) => one.innerText);
  getAttribute = async (name: string) => (await this.#once((one, attribute: string) => [one.getAttribute(attribute)], name))[0];
  boundingBox = () =>
    this.#once((one) => {
      const { x, y, width, height } = one.getBoundingClientRect();
      return { x, y, width, height };
    });
  count = () => this.#all((all) => all.length);
  allTextContents = () => this.#all((all) => all.map((one) => one.textContent));
  evaluateAll = <T>(act: (elements: HTMLElement[]) => T) => this.#all(act);
}

let asked = 0;

class EnginePage {
  readonly #tab: Tab;
  readonly #root = new Located(this, []);
  readonly #listeners: ((error: Error) => void)[] = [];
  #url = "";

  readonly #closed: (() => Promise<void>) | undefined;

  constructor(tab: Tab, closed?: () => Promise<void>) {
    [this.#tab, this.#closed] = [tab, closed];
  }

  locator = (css: string) => this.#root.locator(css);
  getByTestId = (id: string) => this.#root.getByTestId(id);
  getByText = (text: string, options?: Options) => this.#root.getByText(text, options);
  getByLabel = (label: string, options?: Options) => this.#root.getByLabel(label, options);
  getByRole = (role: string, options?: Parameters<Located["getByRole"]>[1]) => this.#root.getByRole(role, options);

  run = async <T>(expression: string): Promise<T> => {
    const { value, wrongs, url } = await this.#tab.evaluate<{ value: T; wrongs: string[]; url: string }>(
      `(async () => { (${watch.toString()})(); const value = await (${expression}); return { value: value ?? null, wrongs: window.wrongs.splice(0), url: location.href }; })()`,
    );
    this.#url = url;
    for (const wrong of wrongs) for (const listener of this.#listeners) listener(new Error(wrong));
    return value;
  };

  async until<T>(ask: () => Promise<T | null>, what: string): Promise<T> {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      const found = await ask();
      if (found !== null) return found;
      if (Date.now() > end) throw new Error(`not there within ${PATIENCE_MS / 1000} s: ${what}`);
      await rest();
    }
  }

  on(_: "pageerror", listener: (error: Error) => void) {
    this.#listeners.push(listener);
  }

  async goto(url: string) {
    await this.#tab.goto(url);
    await this.run("null");
  }

  async reload() {
    await this.goto(await this.run<string>("location.href"));
  }

  /** A promise is asked for again and again: WebDriver runs one script at a time, and the test may need others meanwhile. */
  async evaluate<T>(act: ((argument: never) => T | Promise<T>) | string, argument?: unknown): Promise<T> {
    const key = `answer ${++asked}`;
    const begin = `(() => {
      const done = (window.answers ??= {});
      Promise.resolve(${typeof act === "string" ? act : `(${act.toString()})(${JSON.stringify(argument)})`}).then(
        (value) => (done["${key}"] = { value: value ?? null }),
        (error) => (done["${key}"] = { error: String(error) }),
      );
      return new Promise((resolve) => setTimeout(() => resolve(done["${key}"])));
    })()`;
    const ask = () => this.run<{ value: T; error?: string } | null>(`window.answers["${key}"]`);
    const { value, error } = (await this.run<{ value: T; error?: string } | null>(begin)) ?? (await this.until(ask, key));
    if (error !== undefined) throw new Error(error);
    return value;
  }

  async waitForFunction(act: (argument: never) => unknown, argument?: unknown) {
    const expression = `Boolean(await (${act.toString()})(${JSON.stringify(argument)})) || null`;
    await this.until(() => this.run<true | null>(`(async () => ${expression})()`), act.toString());
  }

  readonly mouse = {
    click: async (x: number, y: number) => this.run(`(() => { document.elementFromPoint(${x}, ${y})?.click(); })()`),
  };

  url = () => this.#url;
  close = async () => {
    await this.#tab.close();
    await this.#closed?.();
  };
}

/** The engine as a browser of Playwright, for the tests' types: what a test uses beyond this interface fails by name. */
export const asBrowser = (engine: Engine): Browser => {
  const newContext = async () => {
    const context = await engine.createContext();
    return {
      newPage: async (closed?: () => Promise<void>) => new EnginePage(await engine.open("about:blank", context), closed) as unknown as Page,
      close: () => engine.closeContext(context),
    };
  };
  /** Each page has a context of its own, which ends with it. */
  const newPage = async () => {
    const context = await newContext();
    return context.newPage(context.close);
  };
  return { newContext, newPage, close: () => engine.close() } as unknown as Browser;
};
