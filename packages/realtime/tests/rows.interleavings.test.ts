/** Rows under random commits, resets, errors and lost connections: at each commit point they are the table at that cursor. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { ClientFrame, Content, RowsState } from "../src/core/frames.js";
import { createMachine, type Effect, IDLE, type Subscriber } from "../src/core/machine.js";
import { createStreams } from "../src/core/streams.js";
import { type List, LISTS, type Row, RowsServer, type Write } from "./rows.model.js";

class Handler implements Subscriber {
  readonly channel: List;
  readonly rows = true;
  at: string | undefined;
  ref = IDLE;
  fresh = false;
  gone = false;
  /** What a page shows, and since which transaction. */
  shown: Map<number, Row> | undefined;
  shownAt = 0;

  constructor(channel: List) {
    this.channel = channel;
  }

  apply([kind, value, key]: Content) {
    expect(this.gone).toBe(false);
    if (kind === "rows") this.shown = new Map((value as RowsState).rows.map((row) => [(row as Row).id, row as Row]));
    else if (kind === "payload") this.shown?.set((value as Row).id, value as Row);
    else this.shown?.delete(((kind === "gone" ? value : key) as Row).id);
  }
}

class World {
  readonly server = new RowsServer();
  readonly machine = createMachine<Handler, never>(() => 0.5, { linger: 1 });
  readonly handlers: Handler[] = [];
  readonly timers = new Set<string>();
  connected = false;
  connecting = false;
  now = 0;
  readonly overStreams: boolean;
  streams = createStreams();
  says = false;

  constructor(overStreams: boolean) {
    this.overStreams = overStreams;
  }

  say(frame: ClientFrame) {
    if (!this.overStreams) this.server.requests.push(frame);
    else if (this.streams.send(JSON.stringify(frame))) this.says = true;
  }

  speak() {
    if (!this.says || !this.streams.isResumed()) return;
    this.says = false;
    this.stream();
  }

  stream() {
    this.server.connect();
    for (const line of this.streams.begin().split("\n")) if (line) this.server.requests.push(JSON.parse(line) as ClientFrame);
  }

  run(effects: readonly Effect<Handler, never>[]) {
    for (const effect of effects) {
      if (effect[0] === "connect") this.connecting = true;
      else if (effect[0] === "send") this.say(effect[1]);
      else if (effect[0] === "soon") this.run(this.machine.ask(this.now));
      else if (effect[0] === "close") this.connected = this.connecting = false;
      else if (effect[0] === "timer" && effect[1]) this.timers.add(effect[1]);
      else if (effect[0] === "apply") for (const [content, to] of effect[1]) for (const handler of to) handler.apply(content);
      else if (effect[0] === "refused") expect(effect[2].code).toBe("rows_unreadable");
      else if (effect[0] === "reset") throw new Error("a reset reached a handler of rows");
    }
  }

  /** After each message: all that is live is the table at the last cursor; what waits for rows shows what it has shown. */
  check() {
    for (const handler of this.handlers) {
      const at = handler.fresh ? this.machine.position() : handler.at;
      if (at !== undefined) handler.shownAt = Number(at);
      if (!handler.gone && handler.shown) expect(handler.shown).toEqual(this.server.at(handler.shownAt)[handler.channel]);
      if (handler.fresh) expect(handler.shown).toBeDefined();
    }
  }

  deliver(count: number) {
    for (let i = 0; i < count && this.connected; i++) {
      const frame = this.server.frames.shift();
      if (frame === undefined) return;
      const text = JSON.stringify(frame);
      for (const message of this.overStreams ? this.streams.receive(text) : [text])
        this.hear(message);
      this.check();
    }
  }

  private hear(message: string) {
    if (this.connected) this.run(this.machine.received(message, ++this.now));
  }

  subscribe(channel: List) {
    const handler = new Handler(channel);
    this.handlers.push(handler);
    this.run(this.machine.subscribe(handler, ++this.now));
  }

  unsubscribe(index: number) {
    const handler = this.handlers[index % this.handlers.length];
    if (!handler) return;
    handler.gone = true;
    this.run(this.machine.unsubscribe(handler, ++this.now));
  }

  wait() {
    for (const key of [...this.timers]) this.run(this.machine.timer(key, ++this.now));
    this.timers.clear();
  }

  connect() {
    if (this.connected) return;
    if (this.machine.connection().status === "waiting") this.run(this.machine.timer("", ++this.now));
    if (!this.connecting) return;
    this.connecting = false;
    this.connected = true;
    this.says = false;
    this.streams = createStreams();
    this.stream();
    this.run(this.machine.opened(undefined, ++this.now));
  }

  lose() {
    if (!this.connected) return;
    this.connected = false;
    this.run(this.machine.closed(1006, ++this.now));
  }

  /** A frame is lost on its way: its group does not add up. */
  damage(index: number) {
    const places = this.server.frames.flatMap((frame, at) => ("rows" in frame && !("subscribed" in frame) && (frame["items"] as unknown[]).length ? [at] : "id" in frame ? [at] : []));
    const place = places[index % places.length];
    if (place !== undefined) this.server.frames.splice(place, 1);
  }

  quiesce() {
    const { server } = this;
    for (let i = 0, idle = 0; i < 500 && idle < 2; i++) {
      this.connect();
      this.wait();
      this.speak();
      server.relay();
      server.take();
      server.answer(0, 0, 2, true);
      this.deliver(20);
      const busy = this.says || !this.connected || this.timers.size || server.position < server.committed || server.requests.length || server.pending.length || server.frames.length;
      idle = busy ? 0 : idle + 1;
    }
  }
}

const list = fc.constantFrom(...LISTS);
const small = fc.nat({ max: 6 });
const write: fc.Arbitrary<Write> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ put: list, id: small, title: fc.nat({ max: 99 }) }) },
  { weight: 3, arbitrary: fc.record({ move: small, from: list, to: list }) },
  { weight: 2, arbitrary: fc.record({ drop: list, id: small, skipped: fc.boolean() }) },
);
const action: fc.Arbitrary<(world: World) => void> = fc.oneof(
  { weight: 10, arbitrary: fc.array(write, { minLength: 1, maxLength: 4 }).map((writes) => (w: World) => w.server.commit(writes)) },
  { weight: 1, arbitrary: fc.tuple(fc.array(write), fc.subarray([...LISTS], { minLength: 1 })).map(([writes, lists]) => (w: World) => w.server.commit(writes, lists)) },
  { weight: 10, arbitrary: fc.constant((w: World) => w.server.relay()) },
  { weight: 10, arbitrary: small.map((n) => (w: World) => w.deliver(2 * n)) },
  { weight: 10, arbitrary: fc.constant((w: World) => w.server.take()) },
  { weight: 10, arbitrary: fc.tuple(small, small, fc.integer({ min: 1, max: 3 }), fc.nat({ max: 9 })).map(([which, ago, page, luck]) => (w: World) => w.server.answer(which, ago, page, luck > 0)) },
  { weight: 5, arbitrary: list.map((name) => (w: World) => w.subscribe(name)) },
  { weight: 2, arbitrary: small.map((n) => (w: World) => w.unsubscribe(n)) },
  { weight: 5, arbitrary: fc.constant((w: World) => w.connect()) },
  { weight: 5, arbitrary: fc.constant((w: World) => w.speak()) },
  { weight: 3, arbitrary: fc.constant((w: World) => w.wait()) },
  { weight: 2, arbitrary: fc.constant((w: World) => w.lose()) },
  { weight: 1, arbitrary: fc.constantFrom("rewound", "unreadable").map((reason) => (w: World) => w.server.expire(reason)) },
  { weight: 2, arbitrary: fc.constant((w: World) => w.server.heartbeat()) },
  { weight: 2, arbitrary: small.map((n) => (w: World) => w.damage(n)) },
);

test.each([["a WebSocket", false], ["streams", true]])(
  "over %s the rows of each list are its table at every commit point, and move between lists in one step",
  (_, overStreams) => {
    fc.assert(
      fc.property(fc.array(action, { minLength: 20, maxLength: 150, size: "max" }), (actions) => {
        const world = new World(overStreams);
        for (const act of actions) act(world);
        world.quiesce();
        for (const handler of world.handlers)
          if (!handler.gone) expect([handler.fresh, handler.shown]).toEqual([true, world.server.tables.at(-1)?.[handler.channel]]);
      }),
      { numRuns: 500 },
    );
  },
  60_000,
); // prettier-ignore
