/** Small builders of the server's frames, and a machine with a script around it. */
import { createMachine, type Effect, IDLE, type Subscriber } from "../src/core/machine.js";

export const hello = (cursor = "c0", schema = "s") => ({ hello: { protocol: 1, schema, heartbeat: 10, cursor } });
export const event = (id: number, channel = "run_update", payload: unknown = id) => ({ channel, payload, id });
export const ephemeral = (payload: unknown, channel = "run_update") => ({ channel, payload });
export const point = (cursor: string, n: number) => ({ cursor, n, at: "2026-11-22T20:13:00.000Z" });
export const subscribed = (ref: number, cursor: string, n = 0, channels = ["run_update"]) => ({ subscribed: channels, cursor, n, ref });
export const reset = (cursor: string, ref?: number, channels = ["run_update"]) => ({ reset: channels, reason: "expired", cursor, ref });
export const refusal = (ref: number | undefined, channel?: string) => ({ error: { code: "forbidden", message: "no", channel, ref } });

export type Handler = Subscriber & { readonly name: string; readonly heard: unknown[] };
type Told = Effect<Handler, string>;

/** A page: handlers that write down what they hear, and every effect of the machine since it was last looked at. */
export class Page {
  readonly machine;
  now = 0;
  effects: Told[] = [];

  constructor({ random = 0.5, ...limits }: { schema?: string; random?: number; hasTokens?: boolean; idle?: number } = {}) {
    this.machine = createMachine<Handler, string>(() => random, { linger: 1000, ...limits });
  }

  /** Opened, greeted, and with one live handler on `run_update`. */
  static live(): { page: Page; handler: Handler } {
    const page = new Page();
    const handler = page.subscribe();
    page.open().server(hello(), subscribed(1, "c0"));
    page.take();
    return { page, handler };
  }

  subscribe(channel = "run_update", since?: string, as: string | true = "h"): Handler {
    const handler: Handler = { name: String(as), channel, at: since, ref: IDLE, fresh: false, heard: [], ...(as === true && { rows: true }) };
    this.do(this.machine.subscribe(handler, this.now));
    return handler;
  }

  unsubscribe(handler: Handler): this {
    return this.do(this.machine.unsubscribe(handler, this.now));
  }

  settle(xid: string): this {
    return this.do(this.machine.settle(xid, xid, this.now));
  }

  open(token?: string): this {
    return this.do(this.machine.opened(token, this.now));
  }

  server(...frames: readonly unknown[]): this {
    for (const frame of frames) this.do(this.machine.received(JSON.stringify(frame), this.now));
    return this;
  }

  lose(code = 1006, reason?: string): this {
    return this.do(this.machine.closed(code, this.now, reason));
  }

  wait(ms: number): this {
    this.now += ms;
    return this;
  }

  timer(key = ""): this {
    return this.do(this.machine.timer(key, this.now));
  }

  /** The effects of one kind since the last look, without their name; all others are forgotten with them. */
  take(name?: Told[0]): unknown[] {
    const taken = this.effects.filter((effect) => effect[0] === name);
    this.effects = [];
    return taken.map(([, ...rest]) => (rest.length === 1 ? rest[0] : rest));
  }

  do(effects: readonly Told[]): this {
    for (const effect of effects) {
      this.effects.push(effect);
      if (effect[0] === "apply") for (const [[, value], to] of effect[1]) for (const handler of to) handler.heard.push(value);
      if (effect[0] === "reset") effect[1].heard.push(effect[2].code);
      if (effect[0] === "soon") this.do(this.machine.ask(this.now));
    }
    return this;
  }
}
