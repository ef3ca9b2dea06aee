/** Random interleavings of an application, a network that breaks anywhere, and a small model of the server. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { ClientFrame } from "../src/core/frames.js";
import { createMachine, type Effect, IDLE, type Subscriber } from "../src/core/machine.js";

const CHANNELS = ["run_update", "system", "runs.42"] as const;
type Name = (typeof CHANNELS)[number];
type Logged = { readonly id: number; readonly transaction: number; readonly channel: string };
type Subscribe = Extract<ClientFrame, { subscribe: unknown }>;

/** The log and one session of the server. A cursor is the number of transactions it has seen. */
class Server {
  readonly log: Logged[] = [];
  committed = 0;
  position = 0;
  kept = 0; // older cursors are expired
  live = new Set<string>();
  catchingUp: Subscribe[] = [];
  settling: number[] = [];
  requests: ClientFrame[] = [];
  frames: unknown[] = [];

  commit(channels: readonly Name[]) {
    this.committed += 1;
    for (const channel of channels) this.log.push({ id: this.log.length + 1, transaction: this.committed, channel });
  }

  connect() {
    this.live = new Set();
    this.catchingUp = [];
    this.settling = [];
    this.requests = [];
    this.frames = [{ hello: { protocol: 1, schema: "s", heartbeat: 10, cursor: String(this.position) } }];
  }

  relay() {
    if (this.position === this.committed) return;
    this.position += 1;
    const group = this.between(this.position - 1, [...this.live]);
    if (group.length) this.frames.push(...group, { cursor: String(this.position), n: group.length, at: "" });
    for (const xid of this.settling.filter((xid) => xid <= this.position)) this.settle(xid);
    this.settling = this.settling.filter((xid) => xid > this.position);
  }

  heartbeat() {
    this.frames.push({ cursor: String(this.position), n: 0, at: "" });
  }

  /** Take one request of the client. */
  take() {
    const request = this.requests.shift();
    if (!request) return;
    if ("subscribe" in request) {
      if (request.since === undefined) this.goLive(request, []);
      else this.catchingUp.push(request);
    } else if ("unsubscribe" in request) {
      for (const channel of request.unsubscribe) {
        this.live.delete(channel);
        this.catchingUp = this.catchingUp
          .map((c) => ({ ...c, subscribe: c.subscribe.filter((name) => name !== channel) }))
          .filter((c) => c.subscribe.length);
      }
    } else if ("settle" in request) {
      const xid = Number(request.settle);
      if (xid <= this.position) this.settle(xid);
      else this.settling.push(xid);
    }
  }

  /** Answer the oldest, or the youngest, request that has to catch up. */
  answer(oldest: boolean) {
    const request = oldest ? this.catchingUp[0] : this.catchingUp.at(-1);
    const since = Number(request?.since);
    if (!request || since > this.position) return;
    this.catchingUp = this.catchingUp.filter((c) => c !== request);
    if (since >= this.kept) {
      this.goLive(request, this.between(since, request.subscribe));
      return;
    }
    for (const name of request.subscribe) this.live.add(name);
    this.frames.push({ reset: request.subscribe, reason: "expired", cursor: String(this.position), ref: request.ref });
  }

  private goLive({ subscribe, ref }: Subscribe, replay: readonly unknown[]) {
    for (const name of subscribe) this.live.add(name);
    this.frames.push(...replay, { subscribed: subscribe, cursor: String(this.position), n: replay.length, ref });
  }

  private settle(xid: number) {
    this.frames.push({ settled: String(xid), cursor: String(this.position) });
  }

  private between(after: number, channels: readonly string[]) {
    return this.log
      .filter((e) => e.transaction > after && e.transaction <= this.position && channels.includes(e.channel))
      .map((e) => ({ channel: e.channel, payload: e, id: e.id }));
  }
}

class Handler implements Subscriber {
  readonly channel: string;
  at: string | undefined;
  ref = IDLE;
  fresh = false;
  /** Every event of the channel after this transaction; undefined: wherever its subscription began. */
  floor: number | undefined;
  heard: Logged[] = [];
  gone = false;

  constructor(channel: string, since?: number) {
    this.channel = channel;
    this.at = since === undefined ? undefined : String(since);
    this.floor = since;
  }

  /** Each event once, in the log's order, without a gap, and whole transactions. */
  check(log: readonly Logged[]) {
    const mine = log.filter((e) => e.channel === this.channel);
    const first = this.floor === undefined ? this.heard[0]?.transaction : this.floor + 1;
    const from = first === undefined ? mine.length : mine.findIndex((e) => e.transaction >= first);
    const expected = from < 0 ? [] : mine.slice(from, from + this.heard.length);
    expect(this.heard).toEqual(expected);
    const last = this.heard.at(-1);
    if (last) expect(mine[mine.indexOf(expected[expected.length - 1] ?? last) + 1]?.transaction).not.toBe(last.transaction);
  }

  missing(log: readonly Logged[], until: number): Logged[] {
    if (this.floor === undefined) return [];
    const { floor } = this;
    const ids = new Set(this.heard.map((e) => e.id));
    return log.filter((e) => e.channel === this.channel && e.transaction > floor && e.transaction <= until && !ids.has(e.id));
  }
}

/** The client and the server, with the network between them in the hands of the test. */
class World {
  readonly server = new Server();
  readonly machine = createMachine<Handler, { xid: number; asked: readonly Handler[] }>(() => 0.5, { linger: 1 });
  readonly handlers: Handler[] = [];
  readonly lingering = new Set<string>();
  connected = false;
  connecting = false;
  now = 0;

  run(effects: readonly Effect<Handler, { xid: number; asked: readonly Handler[] }>[]) {
    for (const effect of effects) {
      if (effect[0] === "connect") this.connecting = true;
      else if (effect[0] === "send") this.server.requests.push(effect[1]);
      else if (effect[0] === "soon") this.run(this.machine.ask(this.now));
      else if (effect[0] === "close") this.connected = this.connecting = false;
      else if (effect[0] === "timer" && effect[1]) this.lingering.add(effect[1]);
      else if (effect[0] === "apply") {
        for (const [handler, payload] of effect[1]) handler.heard.push(payload as Logged);
        for (const handler of this.handlers) handler.check(this.server.log);
      } else if (effect[0] === "reset") {
        effect[1].heard = [];
        effect[1].floor = undefined;
      } else if (effect[0] === "settled") {
        const { xid, asked } = effect[1];
        for (const handler of asked) if (!handler.gone) expect(handler.missing(this.server.log, xid)).toEqual([]);
      }
    }
  }

  subscribe(channel: Name, since?: number) {
    const handler = new Handler(channel, since);
    this.handlers.push(handler);
    this.run(this.machine.subscribe(handler, ++this.now));
  }

  unsubscribe(index: number) {
    const handler = this.handlers[index % this.handlers.length];
    if (!handler) return;
    handler.gone = true;
    this.run(this.machine.unsubscribe(handler, ++this.now));
  }

  settle(xid: number) {
    this.run(this.machine.settle(String(xid), { xid, asked: [...this.handlers] }, ++this.now));
  }

  linger() {
    for (const channel of [...this.lingering]) this.run(this.machine.timer(channel, ++this.now));
    this.lingering.clear();
  }

  connect() {
    if (this.connected) return;
    if (!this.connecting) this.run(this.machine.timer("", ++this.now));
    if (!this.connecting) return;
    this.connecting = false;
    this.connected = true;
    this.server.connect();
    this.run(this.machine.opened(undefined, ++this.now));
  }

  lose() {
    if (!this.connected) return;
    this.connected = false;
    this.run(this.machine.closed(1006, ++this.now));
  }

  deliver(count: number) {
    for (let i = 0; i < count && this.connected; i++) {
      const frame = this.server.frames.shift();
      if (frame === undefined) return;
      this.run(this.machine.received(JSON.stringify(frame), ++this.now));
    }
  }

  /** Lose a frame on the way: the client has to notice. Only events: what else is lost ends the connection. */
  mislay(index: number) {
    const events = this.server.frames.filter((f) => typeof f === "object" && f !== null && "id" in f);
    const lost = events[index % events.length];
    this.server.frames = this.server.frames.filter((f) => f !== lost || lost === undefined);
  }

  quiesce() {
    const { server } = this;
    for (let i = 0; i < 1000; i++) {
      const busy = server.position < server.committed || [server.requests, server.catchingUp, server.frames].some((q) => q.length);
      if (this.connected && !busy) return;
      this.connect();
      this.server.relay();
      this.server.take();
      this.server.answer(true);
      this.deliver(10);
    }
    throw new Error("the conversation does not come to rest");
  }
}

const channel = fc.constantFrom(...CHANNELS);
const small = fc.nat({ max: 20 });
const action: fc.Arbitrary<(world: World) => void> = fc.oneof(
  { weight: 5, arbitrary: fc.array(channel, { minLength: 1, maxLength: 3 }).map((c) => (w: World) => w.server.commit(c)) },
  { weight: 5, arbitrary: fc.constant((w: World) => w.server.relay()) },
  { weight: 5, arbitrary: small.map((n) => (w: World) => w.deliver(n)) },
  { weight: 5, arbitrary: fc.constant((w: World) => w.server.take()) },
  { weight: 4, arbitrary: fc.boolean().map((oldest) => (w: World) => w.server.answer(oldest)) },
  { weight: 3, arbitrary: channel.map((c) => (w: World) => w.subscribe(c)) },
  { weight: 3, arbitrary: fc.tuple(channel, small).map(([c, ago]) => (w: World) => w.subscribe(c, Math.max(0, w.server.committed - ago))) },
  { weight: 2, arbitrary: small.map((n) => (w: World) => w.unsubscribe(n)) },
  { weight: 2, arbitrary: small.map((ago) => (w: World) => w.settle(Math.max(0, w.server.committed - ago))) },
  { weight: 1, arbitrary: fc.constant((w: World) => w.linger()) },
  { weight: 3, arbitrary: fc.constant((w: World) => w.connect()) },
  { weight: 1, arbitrary: fc.constant((w: World) => w.lose()) },
  { weight: 1, arbitrary: fc.constant((w: World) => w.server.heartbeat()) },
  { weight: 1, arbitrary: small.map((n) => (w: World) => w.mislay(n)) },
  { weight: 1, arbitrary: small.map((ago) => (w: World) => (w.server.kept = Math.max(w.server.kept, w.server.position - ago))) },
);

test("every handler hears each event once, in order, in whole transactions, whatever happens when", () => {
  fc.assert(
    fc.property(fc.array(action, { minLength: 20, maxLength: 200 }), (actions) => {
      const world = new World();
      for (const act of actions) act(world);
      world.quiesce();
      world.server.commit(CHANNELS);
      world.quiesce();
      for (const handler of world.handlers) {
        handler.check(world.server.log);
        if (handler.gone) continue;
        expect(handler.missing(world.server.log, world.server.committed)).toEqual([]);
        expect(handler.heard.at(-1)?.transaction).toBe(world.server.committed);
      }
      if (world.handlers.some((h) => !h.gone)) expect(world.machine.connection()).toMatchObject({ status: "open", fresh: true });
    }),
    { numRuns: 2000 },
  );
}, 60_000);
