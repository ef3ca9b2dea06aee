/** Random interleavings of events, refetches, cancellations, mounts and a network that breaks: the cache ends as the truth. */
import { notifyManager, QueryClient, QueryObserver } from "@tanstack/react-query";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createClient } from "../src/client.js";
import type { Client } from "../src/options.js";
import { channelQuery, followQueries, type Positioned } from "../src/query.js";
import { CHANNELS, type Logged, type Name, Server } from "./model.js";
import { settle } from "./socket.js";

beforeEach(() => {
  vi.useFakeTimers();
  notifyManager.setScheduler(queueMicrotask);
});
afterEach(() => void vi.useRealTimers());

type Ids = readonly number[];
type Load = { readonly taken: Positioned<Ids>; readonly resolve: (value: Positioned<Ids>) => void; readonly reject: (error: Error) => void };

class World {
  readonly server = new Server(false);
  readonly queries = new QueryClient({ defaultOptions: { queries: { retry: false, gcTime: Infinity } } });
  readonly client: Client;
  readonly loads: Load[] = [];
  readonly errors: unknown[] = [];
  readonly options;
  readonly end: () => void;
  observer: QueryObserver<Positioned<Ids>, Error, Ids> | undefined;
  leave: (() => void) | undefined;
  socket: Socket | undefined;
  longest = 0;

  constructor() {
    const connect = (socket: Socket) => (this.socket = socket);
    const forget = (socket: Socket) => {
      if (this.socket === socket) this.socket = undefined;
    };
    const send = (data: string) => this.server.requests.push(JSON.parse(data) as never);
    class Here extends Socket {
      constructor() {
        super();
        connect(this);
      }
      close = () => forget(this);
      send = send;
    }
    this.client = createClient({ url: "ws://a.example", WebSocket: Here, onError: (error) => this.errors.push(error) });
    this.end = followQueries(this.client, this.queries);
    this.queries.getQueryCache().subscribe(({ type }) => type === "updated" && this.look());
    this.options = channelQuery("run_update", {
      queryKey: ["runs"],
      load: () => new Promise<Positioned<Ids>>((resolve, reject) => this.loads.push({ taken: this.snapshot(), resolve, reject })),
      reduce: (ids: Ids, payload) => {
        const { id } = payload as Logged;
        expect(id, `after ${ids.join()}`).toBe(this.truth()[ids.length]); // no gap, no double, in order
        return [...ids, id];
      },
    });
  }

  truth(): Ids {
    return this.server.log.filter((event) => event.channel === "run_update").map((event) => event.id);
  }

  snapshot(): Positioned<Ids> {
    return { data: this.truth(), cursor: String(this.server.committed) };
  }

  cached(): Ids {
    return this.queries.getQueryData<Positioned<Ids>>(["runs"])?.data ?? [];
  }

  mount() {
    if (this.leave) return;
    this.observer = new QueryObserver(this.queries, this.options);
    this.leave = this.observer.subscribe(() => undefined);
    this.longest = 0;
  }

  unmount() {
    this.leave?.();
    this.leave = undefined;
  }

  connect() {
    if (!this.socket || this.socket.isOpen) return;
    this.socket.isOpen = true;
    this.server.connect();
    this.socket.onopen?.();
  }

  lose() {
    const { socket } = this;
    this.socket = undefined;
    socket?.onclose?.({ code: 1006 });
    this.client.reconnect();
  }

  deliver(count: number) {
    for (let i = 0; i < count && this.socket?.isOpen; i++) {
      const frame = this.server.frames.shift();
      if (frame) this.socket.onmessage?.({ data: JSON.stringify(frame) });
    }
  }

  answer(index: number, fails = false) {
    const [load] = this.loads.splice(index % (this.loads.length || 1), 1);
    if (fails) load?.reject(new Error("offline"));
    else load?.resolve(load.taken);
  }

  /** While somebody looks, the cache never goes back, not for a moment. */
  look() {
    if (!this.leave) return;
    const { length } = this.cached();
    if (length < this.longest) this.errors.push(`the cache went back from ${this.longest} to ${length}`);
    this.longest = length;
  }

  check() {
    expect(this.errors).toEqual([]);
    const ids = this.cached();
    expect(ids).toEqual(this.truth().slice(0, ids.length));
  }

  /** Come back to another server, which may be behind. */
  change(behind: number) {
    this.lose();
    this.server.position = Math.max(this.server.kept, this.server.position - behind);
  }

  /** The network does its work for a while, and commits come in between. */
  pump(commits = 0) {
    this.connect();
    for (let i = 0; i < 4; i++) {
      if (i < commits) this.server.commit(["run_update"]);
      this.server.relay();
      this.server.take();
      this.server.answer(true);
      this.server.answer(false);
      this.deliver(10);
    }
  }

  async quiesce() {
    this.mount();
    await settle();
    void this.observer?.refetch();
    for (let i = 0; i < 30; i++) {
      await settle();
      while (this.loads.length) this.answer(0);
      if (!this.socket) this.client.reconnect();
      await settle();
      this.pump();
      await settle();
      this.check();
    }
  }
}

abstract class Socket {
  isOpen = false;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onerror: (() => void) | null = null;
  abstract send: (data: string) => unknown;
  abstract close: () => void;
}

const channel = fc.constantFrom<Name>(...CHANNELS, "run_update", "run_update");
const small = fc.nat({ max: 8 });
const reason = fc.constantFrom("expired", "rewound");
const quiet = { cancelRefetch: false } as const;
const action: fc.Arbitrary<(world: World) => void> = fc.oneof(
  { weight: 8, arbitrary: fc.array(channel, { minLength: 1, maxLength: 3 }).map((c) => (w: World) => w.server.commit(c)) },
  { weight: 4, arbitrary: fc.constant((w: World) => w.server.relay()) },
  { weight: 6, arbitrary: small.map((n) => (w: World) => w.deliver(n)) },
  { weight: 4, arbitrary: fc.constant((w: World) => w.server.take()) },
  { weight: 4, arbitrary: fc.boolean().map((oldest) => (w: World) => w.server.answer(oldest)) },
  { weight: 3, arbitrary: fc.constant((w: World) => w.connect()) },
  { weight: 20, arbitrary: small.map((commits) => (w: World) => w.pump(commits)) },
  { weight: 2, arbitrary: fc.constant((w: World) => w.lose()) },
  { weight: 2, arbitrary: small.map((behind) => (w: World) => w.change(behind)) },
  { weight: 6, arbitrary: fc.constant((w: World) => w.mount()) },
  { weight: 2, arbitrary: fc.constant((w: World) => w.unmount()) },
  { weight: 12, arbitrary: fc.boolean().map((cancels) => (w: World) => void w.observer?.refetch(cancels ? {} : quiet)) },
  { weight: 12, arbitrary: small.map((n) => (w: World) => w.answer(n)) },
  { weight: 1, arbitrary: small.map((n) => (w: World) => w.answer(n, true)) },
  { weight: 4, arbitrary: fc.constant((w: World) => void w.queries.cancelQueries()) },
  { weight: 2, arbitrary: fc.constant((w: World) => void w.queries.invalidateQueries()) },
  { weight: 1, arbitrary: reason.map((reason) => (w: World) => w.server.beginAnew(reason)) },
  { weight: 1, arbitrary: small.map((ago) => (w: World) => (w.server.kept = Math.max(w.server.kept, w.server.position - ago))) },
  { weight: 1, arbitrary: fc.boolean().map((counts) => (w: World) => w.server.heartbeat(counts)) },
);

test("the cache never goes back, holds no event twice, and ends as the truth, whatever happens when", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 10, maxLength: 80, size: "max" }), async (actions) => {
      const world = new World();
      for (const act of actions) {
        act(world);
        await settle();
        world.check();
      }
      await world.quiesce();
      world.server.commit(["run_update"]);
      await world.quiesce();
      expect(world.cached()).toEqual(world.truth());
      expect(world.observer?.getCurrentResult().data).toEqual(world.truth());
      world.end();
      world.client.close();
    }),
    { numRuns: 250 },
  );
}, 60_000);
