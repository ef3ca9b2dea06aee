/** A golden conversation, replayed against the machine: what the server says goes in, what it sends is compared. */
import { expect } from "vitest";
import type { Content, RowsState } from "../src/core/frames.js";
import { createMachine, type Effect, IDLE, type Subscriber } from "../src/core/machine.js";

type Step =
  | { readonly app: { readonly subscribe: string; readonly as: string; readonly since?: string; readonly rows?: true; readonly present?: true } }
  | { readonly app: { readonly unsubscribe: string } }
  | { readonly app: { readonly settle: string } }
  | { readonly client: unknown }
  | { readonly server: readonly unknown[] }
  | { readonly server_text: readonly string[] }
  | { readonly handlers: Readonly<Record<string, readonly unknown[]>> }
  | { readonly settled: string }
  | { readonly disconnect: true }
  | { readonly connect: { readonly token?: string } }
  | { readonly drain: number }
  | { readonly closed: number }
  | { readonly linger: true }
  | { readonly commit: unknown }
  | { readonly begin: unknown }
  | { readonly rollback: unknown }
  | { readonly ephemeral: unknown }
  | { readonly heartbeat: true }
  | { readonly hold: true }
  | { readonly release: true }
  | { readonly trim: true }
  | { readonly table: unknown }
  | { readonly read: string }
  | { readonly state: string }
  | { readonly present: unknown };

export type Conversation = {
  readonly name: string;
  readonly about: string;
  readonly plain?: true;
  readonly steps: readonly Step[];
};

type Handler = Subscriber & { readonly received: unknown[] };

const shown = ([kind, value, key]: Content): unknown => {
  if (kind === "payload") return value;
  if (kind !== "rows") return { [kind]: value, ...(key !== undefined && { key }) };
  const { rows, key: names, skipped } = value as RowsState;
  return { rows, key: names, ...(skipped && { skipped }) };
};

export const replay = ({ steps }: Conversation): void => {
  const machine = createMachine<Handler, string>(() => 0.5, { linger: 1000, schema: "0" });
  const handlers = new Map<string, Handler>();
  const sent: unknown[] = [];
  const settled: string[] = [];
  const lingering = new Set<string>();
  let connecting = 0;
  let now = 0;

  const carryOut = (effects: readonly Effect<Handler, string>[]) => {
    for (const effect of effects) {
      if (effect[0] === "send") sent.push(effect[1]);
      else if (effect[0] === "soon") carryOut(machine.ask(now));
      else if (effect[0] === "apply")
        for (const [content, to] of effect[1]) for (const handler of to) handler.received.push(shown(content));
      else if (effect[0] === "reset") effect[1].received.push({ reset: effect[2].code });
      else if (effect[0] === "refused" && effect[1].rows) effect[1].received.push({ refused: effect[2].code });
      else if (effect[0] === "settled") settled.push(effect[1]);
      else if (effect[0] === "connect") connecting += 1;
      else if (effect[0] === "close") throw new Error(`the machine closed with ${effect[1]}`);
      else if (effect[0] === "timer" && effect[1]) lingering.add(effect[1]);
    }
  };
  const named = (name: string): Handler => {
    const handler = handlers.get(name);
    if (!handler) throw new Error(`no handler ${name} in this conversation`);
    return handler;
  };
  const app = (call: Extract<Step, { app: unknown }>["app"]): void => {
    if ("settle" in call) return carryOut(machine.settle(call.settle, call.settle, now));
    if ("unsubscribe" in call) return carryOut(machine.unsubscribe(named(call.unsubscribe), now));
    const { subscribe: channel, as, since: at, rows, present } = call;
    const handler: Handler = { channel, rows, present, at, ref: IDLE, fresh: false, received: [] };
    handlers.set(as, handler);
    carryOut(machine.subscribe(handler, now));
  };

  for (const step of steps) {
    now += 1;
    if ("app" in step) app(step.app);
    else if ("client" in step) expect(sent.shift()).toEqual(step.client);
    else if ("server" in step)
      for (const frame of step.server) carryOut(machine.received(JSON.stringify(frame), now));
    else if ("server_text" in step) for (const message of step.server_text) carryOut(machine.received(message, now));
    else if ("handlers" in step)
      for (const [name, payloads] of Object.entries(step.handlers))
        expect(named(name).received.splice(0), name).toEqual(payloads);
    else if ("settled" in step) expect(settled.shift()).toBe(step.settled);
    else if ("connect" in step) {
      if (connecting === 0) carryOut(machine.timer("", now));
      expect(connecting).toBe(1);
      connecting = 0;
      carryOut(machine.opened(step.connect.token, now));
    } else if ("disconnect" in step) {
      expect(sent).toEqual([]);
      carryOut(machine.closed(1006, now));
    } else if ("closed" in step) {
      carryOut(machine.closed(step.closed, now));
    } else if ("linger" in step) {
      for (const channel of lingering) carryOut(machine.timer(channel, now));
      lingering.clear();
    }
  }
  expect({ sent, settled }).toEqual({ sent: [], settled: [] });
  for (const [name, { received }] of handlers) expect(received, name).toEqual([]);
};
