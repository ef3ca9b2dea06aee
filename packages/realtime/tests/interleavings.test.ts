/** Random interleavings of an application, a network that breaks anywhere, and a small model of the server. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { ClientFrame } from "../src/core/frames.js";
import { createMachine, type Effect, IDLE, type Subscriber } from "../src/core/machine.js";

const CHANNELS = ["run_update", "system", "runs.42"] as const;
type Name = (typeof CHANNELS)[number];
type Logged = { readonly id: number; readonly transaction: number; readonly channel: string };
type Frame = { readonly id?: number; readonly n?: number; readonly [member: string]: unknown };
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
  frames: Frame[] = [];
  /** Events of this connection; told with every commit point, or with heartbeats only. */
  sent = 0;
  readonly countsAlways: boolean;

  constructor(countsAlways: boolean) {
    this.countsAlways = countsAlways;
  }

  commit(channels: readonly Name[]) {
    this.committed += 1;
    for (const channel of channels) this.log.push({ id: this.log.length + 1, transaction: this.committed, channel });
  }

  connect() {
    this.live = new Set();
    this.catchingUp = [];
    this.settling = [];
    this.requests = [];
    this.sent = 0;
    this.frames = [{ hello: { protocol: 1, schema: "s", heartbeat: 10, cursor: String(this.position) } }];
  }

  relay() {
    if (this.position === this.committed) return;
    this.position += 1;
    const group = this.between(this.position - 1, [...this.live]);
    if (group.length) this.tell(group, this.point(group.length, this.countsAlways));
    for (const xid of this.settling.filter((xid) => xid <= this.position)) this.settle(xid);
    this.settling = this.settling.filter((xid) => xid > this.position);
  }

  heartbeat(counts: boolean) {
    this.frames.push(this.point(0, counts || this.countsAlways));
  }

  /** Where the groups are of which the client has heard nothing yet, each with its closing frame. */
  groups(): (readonly [start: number, length: number])[] {
    return this.frames.flatMap(({ n = 0 }, end) => {
      const whole = n > 0 && this.frames.slice(Math.max(0, end - n), end).filter((f) => "id" in f).length === n;
      return whole ? [[end - n, n + 1] as const] : [];
    });
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

  private goLive({ subscribe, ref }: Subscribe, replay: readonly Frame[]) {
    for (const name of subscribe) this.live.add(name);
    this.tell(replay, { subscribed: subscribe, cursor: String(this.position), n: replay.length, ref });
  }

  private tell(events: readonly Frame[], closing: Frame) {
    this.sent += events.length;
    this.frames.push(...events, closing);
  }

  private point(n: number, counts: boolean): Frame {
    return { cursor: String(this.position), n, at: "", ...(counts && { sent: this.sent + n }) };
  }

  private settle(xid: number) {
    this.frames.push({ settled: String(xid), cursor: String(this.position) });
  }

  private between(after: number, channels: readonly string[]): Frame[] {
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

  hear(event: Logged | undefined) {
    expect(this.gone).toBe(false);
    if (event) this.heard.push(event);
  }

  /** Each event once, in the log's order, without a gap but what is known to be lost, and whole transactions. */
  check(log: readonly Logged[], lost: ReadonlySet<unknown>) {
    const mine = log.filter((e) => e.channel === this.channel && (!lost.has(e.id) || this.heard.includes(e)));
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
  readonly server: Server;
  readonly machine = createMachine<Handler, { xid: number; asked: readonly Handler[] }>(() => 0.5, { linger: 1 });
  readonly handlers: Handler[] = [];
  readonly lingering = new Set<string>();
  /** Events that the server lost on this connection with all that belonged to them, which only its count tells. */
  readonly lost = new Set<number>();
  damaged = false;
  connected = false;
  connecting = false;
  now = 0;

  constructor(countsAlways: boolean) {
    this.server = new Server(countsAlways);
  }

  run(effects: readonly Effect<Handler, { xid: number; asked: readonly Handler[] }>[]) {
    for (const effect of effects) {
      if (effect[0] === "connect") this.connecting = true;
      else if (effect[0] === "send") this.server.requests.push(effect[1]);
      else if (effect[0] === "soon") this.run(this.machine.ask(this.now));
      else if (effect[0] === "close") this.connected = this.connecting = false;
      else if (effect[0] === "timer" && effect[1]) this.lingering.add(effect[1]);
      else if (effect[0] === "apply") {
        for (const [handler, { id }] of effect[1] as [Handler, Logged][]) handler.hear(this.server.log[id - 1]);
        for (const handler of this.handlers) if (!handler.gone) handler.check(this.server.log, this.lost);
      } else if (effect[0] === "reset") {
        if (effect[2].code === "lost") expect(this.lost.size > 0 && !this.server.countsAlways).toBe(true);
        effect[1].heard = [];
        effect[1].floor = undefined;
      } else if (effect[0] === "settled") {
        const { xid, asked } = effect[1];
        for (const handler of asked)
          if (!handler.gone) expect(handler.missing(this.server.log, xid).filter((e) => !this.lost.has(e.id))).toEqual([]);
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
    this.lost.clear();
    this.damaged = false;
    this.server.connect();
    this.run(this.machine.opened(undefined, ++this.now));
  }

  /** What is missing since the last count, and then goes with the connection, nobody can know of. */
  get mayEnd() {
    return this.connected && (this.server.countsAlways || !this.lost.size);
  }

  lose() {
    if (!this.mayEnd) return;
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

  /** One damage a connection: two may make up for each other in a count. */
  damage(how: "lose event" | "lose group" | "repeat group", index: number) {
    const { frames } = this.server;
    const places = how === "lose event" ? frames.flatMap((f, at) => ("id" in f ? [[at, 1] as const] : [])) : this.server.groups();
    const [start, length] = places[index % places.length] ?? [0, 0];
    if (this.damaged || !length) return;
    this.damaged = true;
    if (how === "repeat group") frames.splice(start, 0, ...frames.slice(start, start + length));
    else for (const { id } of frames.splice(start, length)) if (id !== undefined && how === "lose group") this.lost.add(id);
  }

  /** Until everything is told, and the server's count has confirmed it. */
  quiesce() {
    const { server } = this;
    let confirmed = false;
    for (let i = 0; i < 1000; i++) {
      const busy = server.position < server.committed || [server.requests, server.catchingUp, server.frames].some((q) => q.length);
      if (!this.connected || busy) confirmed = false;
      else if (confirmed) return;
      else {
        confirmed = true;
        server.heartbeat(true);
      }
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
const harm = fc.constantFrom("lose event", "lose group", "repeat group");
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
  { weight: 1, arbitrary: fc.boolean().map((counts) => (w: World) => w.server.heartbeat(counts)) },
  { weight: 3, arbitrary: fc.tuple(harm, small).map(([how, n]) => (w: World) => w.damage(how, n)) },
  { weight: 1, arbitrary: small.map((ago) => (w: World) => (w.server.kept = Math.max(w.server.kept, w.server.position - ago))) },
);

test("every handler hears each event once, in order, in whole transactions, whatever happens when", () => {
  fc.assert(
    fc.property(fc.boolean(), fc.array(action, { minLength: 20, maxLength: 200 }), (countsAlways, actions) => {
      const world = new World(countsAlways);
      for (const act of actions) act(world);
      world.quiesce();
      world.lost.clear(); // by now it is told, or a reset was
      world.server.commit(CHANNELS);
      world.quiesce();
      for (const handler of world.handlers) {
        if (handler.gone) continue;
        handler.check(world.server.log, world.lost);
        expect(handler.missing(world.server.log, world.server.committed)).toEqual([]);
        expect(handler.heard.at(-1)?.transaction).toBe(world.server.committed);
      }
      if (world.handlers.some((h) => !h.gone)) expect(world.machine.connection()).toMatchObject({ status: "open", fresh: true });
    }),
    { numRuns: 2000 },
  );
}, 60_000);
