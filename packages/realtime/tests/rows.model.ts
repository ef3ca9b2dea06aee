/** A small model of a server with channels of rows: the tables after each transaction, and one session. */
import type { ClientFrame } from "../src/core/frames.js";

export const LISTS = ["task_rows.1", "task_rows.2", "user_rows"] as const;
export type List = (typeof LISTS)[number];
export type Row = { readonly id: number; readonly title: number };
/** The rows of each channel. */
export type Tables = Readonly<Record<List, ReadonlyMap<number, Row>>>;
type Frame = Readonly<Record<string, unknown>>;
type Change = { readonly channel: List; readonly id: number } & (
  | { readonly payload: Row }
  | { readonly gone: { readonly id: number } }
  | { readonly skipped: { readonly reason: string; readonly key: { readonly id: number } } }
);
/** What one transaction wrote, or that it has reset some channels. */
type Commit = { readonly changes: readonly Change[]; readonly resets: readonly List[] };
type Subscribe = Extract<ClientFrame, { subscribe: unknown }>;
export type Write =
  | { readonly put: List; readonly id: number; readonly title: number }
  | { readonly move: number; readonly from: List; readonly to: List }
  | { readonly drop: List; readonly id: number; readonly skipped: boolean };

/** A cursor is the number of transactions it has seen. */
export class RowsServer {
  readonly tables: Tables[] = [{ "task_rows.1": new Map(), "task_rows.2": new Map(), user_rows: new Map() }];
  readonly #commits: Commit[] = [{ changes: [], resets: [] }];
  #id = 0;
  position = 0;
  kept = 0; // older cursors are expired
  live = new Set<string>();
  pending: Subscribe[] = [];
  requests: ClientFrame[] = [];
  frames: Frame[] = [];
  #sent = 0;

  /** The tables after a transaction. */
  at(transaction: number): Tables {
    const tables = this.tables[transaction];
    if (!tables) throw new Error(`there is no transaction ${transaction}`);
    return tables;
  }

  get committed() {
    return this.tables.length - 1;
  }

  commit(writes: readonly Write[], truncated: readonly List[] = []) {
    const last = this.at(this.committed);
    const next = Object.fromEntries(LISTS.map((name) => [name, new Map(truncated.includes(name) ? [] : last[name])])) as Record<List, Map<number, Row>>;
    const changes: Change[] = [];
    const put = (channel: List, row: Row) => {
      next[channel].set(row.id, row);
      changes.push({ channel, payload: row, id: ++this.#id });
    };
    const gone = (channel: List, id: number) => {
      next[channel].delete(id);
      changes.push({ channel, gone: { id }, id: ++this.#id });
    };
    for (const write of writes)
      if ("put" in write) put(write.put, { id: write.id, title: write.title });
      else if ("move" in write) {
        const row = next[write.from].get(write.move);
        if (row && write.from !== write.to) {
          gone(write.from, row.id);
          put(write.to, row);
        }
      } else if (write.skipped) {
        next[write.drop].delete(write.id);
        changes.push({ channel: write.drop, skipped: { reason: "too_large", key: { id: write.id } }, id: ++this.#id });
      } else gone(write.drop, write.id); // also if there is none
    this.tables.push(next);
    this.#commits.push({ changes: changes.filter(({ channel }) => !truncated.includes(channel)), resets: truncated });
  }

  connect() {
    this.live = new Set();
    this.pending = [];
    this.requests = [];
    this.#sent = 0;
    this.frames = [{ hello: { protocol: 1, schema: "s", heartbeat: 10, cursor: String(this.position) } }];
  }

  relay() {
    if (this.position === this.committed) return;
    this.position += 1;
    const hit = (this.#commits[this.position]?.resets ?? []).filter((name) => this.live.has(name));
    // With the cursor before, so that a connection that is cut here has it again.
    if (hit.length) this.frames.push({ reset: hit, reason: "truncated", cursor: String(this.position - 1) });
    const events = this.#between(this.position - 1, [...this.live]);
    if (events.length) this.#tell(events, { cursor: String(this.position), n: events.length, at: "", sent: this.#sent + events.length });
  }

  heartbeat() {
    this.frames.push({ cursor: String(this.position), n: 0, at: "", sent: this.#sent });
  }

  expire(reason: string) {
    this.kept = this.position;
    if (this.live.size) this.frames.push({ reset: [...this.live], reason, cursor: String(this.position) });
  }

  take() {
    const request = this.requests.shift();
    if (!request) return;
    if ("subscribe" in request) this.pending.push(...request.subscribe.map((name) => ({ ...request, subscribe: [name] })));
    else if ("unsubscribe" in request)
      for (const name of request.unsubscribe) {
        this.live.delete(name);
        this.pending = this.pending.filter(({ subscribe }) => subscribe[0] !== name);
      }
    else if ("settle" in request) this.frames.push({ settled: request.settle, cursor: String(this.position) });
  }

  /** Answer one request: with what it has missed, or with the rows as they were some transactions ago and what came since; or with an error. */
  answer(which: number, ago: number, page: number, isReadable: boolean) {
    const request = this.pending[which % this.pending.length];
    if (!request) return;
    this.pending = this.pending.filter((one) => one !== request);
    const [name = ""] = request.subscribe;
    const { ref, rows } = request;
    const since = request.since === undefined ? undefined : Number(request.since);
    const bridges = since !== undefined && since >= this.kept && !this.#isReset(since, name);
    const closing = { subscribed: [name], cursor: String(this.position), ref };
    if (!rows || bridges) {
      if (since !== undefined && !bridges) {
        this.live.add(name);
        this.frames.push({ reset: [name], reason: "expired", cursor: String(this.position), ref });
        return;
      }
      this.live.add(name);
      const events = this.#between(since ?? this.position, [name]);
      this.#tell(events, { ...closing, n: events.length });
    } else if (!isReadable) {
      this.live.delete(name);
      this.frames.push({ error: { code: "rows_unreadable", message: "a lock", channel: name, ref } });
    } else {
      let at = Math.max(0, this.position - ago);
      if (this.#isReset(at, name)) at = this.position;
      const items = [...this.at(at)[name as List].values()].reverse();
      for (let n = 0; n === 0 || n < items.length; n += page) this.frames.push({ rows: name, key: ["id"], items: items.slice(n, n + page) });
      const events = this.#between(at, [name]);
      this.live.add(name);
      this.#tell(events, { ...closing, n: events.length, rows: items.length });
    }
  }

  #isReset(since: number, name: string) {
    return this.#commits.slice(since + 1, this.position + 1).some(({ resets }) => resets.includes(name as List));
  }

  #tell(events: readonly Frame[], closing: Frame) {
    this.#sent += events.length;
    this.frames.push(...events, closing);
  }

  #between(after: number, channels: readonly string[]): Frame[] {
    return this.#commits
      .slice(after + 1, this.position + 1)
      .flatMap(({ changes }) => changes)
      .filter(({ channel }) => channels.includes(channel));
  }
}
