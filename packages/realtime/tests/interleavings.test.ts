/** Random interleavings of an application, a network that breaks anywhere, and a small model of the server. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { ROOM_TIMER } from "../src/core/effects.js";
import type { ClientFrame } from "../src/core/frames.js";
import { createMachine, type Effect, IDLE, type Subscriber } from "../src/core/machine.js";
import { createStreams } from "../src/core/streams.js";
import { CHANNELS, type Logged, type Name, Server } from "./model.js";

const SILENCE = 25_000;
const HUNG = 2_001;
type Ticket = { readonly xid: number; readonly asked: readonly Handler[] };

class Handler implements Subscriber {
  readonly channel: string;
  at: string | undefined;
  ref = IDLE;
  fresh = false;
  /** Every event of the channel after this transaction; undefined until the subscription has begun. */
  floor: number | undefined;
  heard: Logged[] = [];
  gone = false;
  /** Refused for want of room, and not live since. */
  crowded = false;

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
  readonly machine = createMachine<Handler, Ticket>(() => 0.5, { linger: 1, hasTokens: true });
  readonly handlers: Handler[] = [];
  readonly tickets = new Set<Ticket>();
  readonly lingering = new Set<string>();
  /** Events that the server lost on this connection with all that belonged to them, which only its count tells. */
  readonly lost = new Set<number>();
  damaged = false;
  /** The token was found expired, and nothing has worked since. */
  renews = false;
  /** The server has asked for so much patience. */
  patience = 0;
  connected = false;
  connecting = false;
  now = 0;
  /** Where no WebSocket comes through: what is said takes a new stream. */
  readonly overStreams: boolean;
  streams = createStreams();
  says = false;

  constructor(countsAlways: boolean, overStreams: boolean, room: number) {
    this.server = new Server(countsAlways, room);
    this.overStreams = overStreams;
  }

  say(frame: ClientFrame) {
    if (!this.overStreams) this.server.requests.push(frame);
    else if (this.streams.send(JSON.stringify(frame))) this.says = true;
  }

  /** The present stream ends wherever it is, and the next begins. */
  speak() {
    // A group that the server itself lost has to be found missing before: the next stream would not know.
    if (!this.says || this.lost.size || !this.streams.isResumed()) return;
    this.says = false;
    this.stream();
  }

  stream() {
    this.server.connect();
    const said = this.streams.begin();
    this.server.requests.push(...said.split("\n").flatMap((line) => (line ? [JSON.parse(line) as ClientFrame] : [])));
  }

  run(effects: readonly Effect<Handler, Ticket>[]) {
    for (const effect of effects) {
      if (effect[0] === "connect") {
        this.connecting = true;
        expect(effect[1]).toBe(this.renews);
      }
      else if (effect[0] === "send") this.say(effect[1]);
      else if (effect[0] === "soon") this.run(this.machine.ask(this.now));
      else if (effect[0] === "close") this.connected = this.connecting = this.renews = false;
      else if (effect[0] === "timer" && effect[1]) this.lingering.add(effect[1]);
      else if (effect[0] === "apply") {
        for (const [[, event], to] of effect[1]) for (const handler of to) handler.hear(this.server.log[(event as Logged).id - 1]);
        for (const handler of this.handlers) if (!handler.gone) handler.check(this.server.log, this.lost);
      } else if (effect[0] === "reset") {
        if (effect[2].code === "lost") expect(this.lost.size > 0 && !this.server.countsAlways).toBe(true);
        effect[1].heard = [];
        effect[1].floor = Number(effect[1].at);
      } else if (effect[0] === "fresh") {
        effect[1].crowded &&= !effect[2];
        if (!effect[1].heard.length) effect[1].floor ??= Number(effect[1].at);
      } else if (effect[0] === "refused") {
        expect([effect[2].code, this.server.room < CHANNELS.length, effect[1].crowded]).toEqual(["limit_exceeded", true, false]);
        effect[1].crowded = true;
      } else if (effect[0] === "settled") {
        const { xid, asked } = effect[1];
        expect(this.tickets.delete(effect[1])).toBe(true);
        if (effect[2]) {
          expect(effect[2].code).toBe("stopped");
          continue;
        }
        for (const handler of asked)
          if (!handler.gone && !handler.crowded) expect(handler.missing(this.server.log, xid).filter((e) => !this.lost.has(e.id))).toEqual([]);
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
    const ticket = { xid, asked: [...this.handlers] };
    this.tickets.add(ticket);
    this.run(this.machine.settle(String(xid), ticket, ++this.now));
  }

  linger() {
    for (const channel of [...this.lingering]) this.run(this.machine.timer(channel, ++this.now));
    this.lingering.clear();
  }

  connect() {
    if (this.connected) return;
    if (this.rests) this.reconnect();
    else if (this.machine.connection().status === "waiting") this.run(this.machine.timer("", ++this.now));
    if (!this.connecting) return;
    this.connecting = false;
    this.connected = true;
    this.lost.clear();
    this.damaged = false;
    this.says = false;
    this.streams = createStreams();
    this.stream();
    this.run(this.machine.opened(undefined, ++this.now));
  }

  /** What is missing since the last count, and then goes with the connection, nobody can know of. */
  get mayEnd() {
    return this.connected && (this.server.countsAlways || !this.lost.size);
  }

  /** Not begun, or stopped. */
  get rests() {
    const { status } = this.machine.connection();
    return status === "stopped" || (status === "connecting" && !this.connecting && !this.connected);
  }

  /** The connection ends: lost, closed by the server for now or for good, or because the token is too old. */
  lose(code: number) {
    if (!this.mayEnd) return;
    const isToken = [4401, 4500, 4501].includes(code);
    const final = code >= 4500 && !(isToken && !this.renews);
    this.connected = false;
    this.renews = isToken;
    const effects = this.machine.closed(code, ++this.now);
    const waits = effects.flatMap((effect) => (effect[0] === "timer" && effect[1] === "" ? [effect[2]] : []));
    expect(this.machine.connection().status).toBe(final ? "stopped" : "waiting");
    expect(waits.every((ms) => ms >= this.patience) && waits.length === (final ? 0 : 1)).toBe(true);
    this.patience = 0;
    this.run(effects);
  }

  /** A server that leaves says so, after all else. */
  leave(after: number) {
    if (!this.mayEnd) return;
    this.deliver(this.server.frames.length);
    if (!this.connected) return;
    this.patience = after;
    this.run(this.machine.received(JSON.stringify({ bye: { reconnect_after_ms: after } }), ++this.now));
    this.lose(1012);
  }

  /** The user is back, perhaps after a time in which an attempt to connect has got nowhere. */
  wake(ms: number) {
    const { status } = this.machine.connection();
    const hangs = status === "connecting" && this.connected && ms >= HUNG;
    this.now += hangs ? ms : 1;
    this.run(this.machine.wake(this.now));
    if (status === "waiting") expect(this.connecting).toBe(true);
    else if (hangs) expect([this.connected, this.machine.connection().status]).toEqual([false, "waiting"]);
    else if (status === "open" && !this.overStreams) expect(this.server.requests.at(-1)).toEqual({ settle: "0" });
  }

  reconnect() {
    if (this.connected && !this.mayEnd) return;
    const { renews } = this;
    const effects = this.machine.reconnect(++this.now);
    expect(effects[0]).toEqual(["close", 1000]);
    this.connected = this.connecting = false;
    this.run(effects.slice(1));
    this.renews = renews;
  }

  /** Nothing is heard for a time; then the timer rings. */
  pass(ms: number) {
    if (this.rests || (this.connected && !this.mayEnd)) return;
    this.now += ms;
    this.run(this.machine.timer("", this.now));
    if (ms >= SILENCE) expect(this.connected).toBe(false);
  }

  deliver(count: number) {
    for (let i = 0; i < count && this.connected; i++) {
      const frame = this.server.frames.shift();
      if (frame === undefined) return;
      if ((frame.n ?? 0) > 0 || "subscribed" in frame || "reset" in frame) this.renews = false; // a heartbeat proves nothing
      const text = JSON.stringify(frame);
      for (const message of this.overStreams ? this.streams.receive(text) : [text])
        this.hear(message);
    }
  }

  private hear(message: string) {
    if (this.connected) this.run(this.machine.received(message, ++this.now));
  }

  /** One damage a connection: two may make up for each other in a count. */
  damage(how: "lose event" | "lose group" | "repeat group", index: number) {
    const { frames } = this.server;
    const places = how === "lose event" ? frames.flatMap((f, at) => ("id" in f ? [[at, 1] as const] : [])) : this.server.groups();
    const [start, length] = places[index % places.length] ?? [0, 0];
    if (this.damaged || !length || (how === "lose group" && this.overStreams && (this.says || !this.streams.isResumed()))) return;
    this.damaged = true;
    if (how === "repeat group") frames.splice(start, 0, ...frames.slice(start, start + length));
    else for (const { id } of frames.splice(start, length)) if (id !== undefined && how === "lose group") this.lost.add(id);
  }

  /** Until everything is told, and the server's count has confirmed it. */
  quiesce() {
    const { server } = this;
    let confirmed = false;
    for (let i = 0; i < 1000; i++) {
      const busy = this.says || this.lingering.has(ROOM_TIMER) || server.position < server.committed || [server.requests, server.catchingUp, server.frames].some((q) => q.length);
      if (!this.connected || busy) confirmed = false;
      else if (confirmed) return;
      else {
        confirmed = true;
        server.heartbeat(true);
      }
      this.connect();
      if (this.says && this.connected && this.lost.size) server.heartbeat(true);
      this.linger();
      this.speak();
      this.server.relay();
      this.server.take();
      this.server.answer(true);
      this.deliver(10);
    }
    throw new Error("the conversation does not come to rest");
  }
}

const channel = fc.constantFrom(...CHANNELS);
const harm = fc.constantFrom("lose event", "lose group", "lose group", "repeat group");
const code = fc.constantFrom(1001, 1006, 1012, 4002, 4401, 4401, 4401, 4408, 4409, 4429, 4500, 4501, 4505);
const reason = fc.constantFrom("expired", "rewound", "other_database", "malformed", "unreadable");
const small = fc.nat({ max: 20 });
const action: fc.Arbitrary<(world: World) => void> = fc.oneof(
  { weight: 10, arbitrary: fc.array(channel, { minLength: 1, maxLength: 3 }).map((c) => (w: World) => w.server.commit(c)) },
  { weight: 10, arbitrary: fc.constant((w: World) => w.server.relay()) },
  { weight: 10, arbitrary: small.map((n) => (w: World) => w.deliver(n)) },
  { weight: 10, arbitrary: fc.constant((w: World) => w.server.take()) },
  { weight: 8, arbitrary: fc.boolean().map((oldest) => (w: World) => w.server.answer(oldest)) },
  { weight: 6, arbitrary: channel.map((c) => (w: World) => w.subscribe(c)) },
  { weight: 6, arbitrary: fc.tuple(channel, small).map(([c, ago]) => (w: World) => w.subscribe(c, Math.max(0, w.server.committed - ago))) },
  { weight: 4, arbitrary: small.map((n) => (w: World) => w.unsubscribe(n)) },
  { weight: 4, arbitrary: small.map((ago) => (w: World) => w.settle(Math.max(0, w.server.committed - ago))) },
  { weight: 4, arbitrary: fc.constant((w: World) => w.linger()) },
  { weight: 6, arbitrary: fc.constant((w: World) => w.connect()) },
  { weight: 6, arbitrary: fc.constant((w: World) => w.speak()) },
  { weight: 2, arbitrary: code.map((code) => (w: World) => w.lose(code)) },
  { weight: 1, arbitrary: small.map((after) => (w: World) => w.leave(500 * after)) },
  { weight: 1, arbitrary: fc.constantFrom(1, HUNG).map((ms) => (w: World) => w.wake(ms)) },
  { weight: 1, arbitrary: fc.constant((w: World) => w.reconnect()) },
  { weight: 1, arbitrary: small.map((s) => (w: World) => w.pass(2000 * s)) },
  { weight: 1, arbitrary: reason.map((reason) => (w: World) => w.server.beginAnew(reason)) },
  { weight: 2, arbitrary: fc.boolean().map((counts) => (w: World) => w.server.heartbeat(counts)) },
  { weight: 5, arbitrary: fc.tuple(harm, small).map(([how, n]) => (w: World) => w.damage(how, n)) },
  { weight: 2, arbitrary: small.map((ago) => (w: World) => (w.server.kept = Math.max(w.server.kept, w.server.position - ago))) },
);

test.each([
  ["a WebSocket", false],
  ["streams", true],
])("over %s every handler hears each event once, in order, in whole transactions, whatever happens when", (_, overStreams) => {
  fc.assert(
    fc.property(fc.boolean(), fc.integer({ min: 1, max: 3 }), fc.array(action, { minLength: 20, maxLength: 200, size: "max" }), (countsAlways, room, actions) => {
      const world = new World(countsAlways, overStreams, room);
      for (const act of actions) act(world);
      world.quiesce();
      world.lost.clear(); // by now it is told, or a reset was
      world.server.commit(CHANNELS);
      world.quiesce();
      const { live } = world.server;
      const wanted = new Set(world.handlers.flatMap((handler) => (handler.gone ? [] : [handler.channel])));
      expect([...live].filter((name) => wanted.has(name))).toHaveLength(Math.min(room, wanted.size));
      for (const handler of world.handlers) {
        if (handler.gone || !live.has(handler.channel)) continue;
        handler.check(world.server.log, world.lost);
        expect(handler.missing(world.server.log, world.server.committed)).toEqual([]);
        expect(handler.heard.at(-1)?.transaction).toBe(world.server.committed);
      }
      expect(world.tickets.size).toBe(0);
      if (world.handlers.some((h) => !h.gone)) expect(world.machine.connection()).toMatchObject({ status: "open", fresh: true });
    }),
    { numRuns: 1000 },
  );
}, 60_000);
