/** A small model of the server: the log, and one session. */
import type { ClientFrame } from "../src/core/frames.js";

export const CHANNELS = ["run_update", "system", "runs.42"] as const;
export type Name = (typeof CHANNELS)[number];
export type Logged = { readonly id: number; readonly transaction: number; readonly channel: string };
export type Frame = { readonly id?: number; readonly n?: number; readonly [member: string]: unknown };
type Subscribe = Extract<ClientFrame, { subscribe: unknown }>;

/** A cursor is the number of transactions it has seen. */
export class Server {
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
  /** The most channels of a connection. */
  readonly room: number;

  constructor(countsAlways: boolean, room: number = CHANNELS.length) {
    this.countsAlways = countsAlways;
    this.room = room;
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
    this.settleCovered();
  }

  /** Go on from a position that does not continue the last one. */
  beginAnew(reason: string) {
    this.position = this.kept = this.committed;
    if (this.live.size) this.reset([...this.live], reason);
    for (const { subscribe, ref } of this.catchingUp.splice(0)) this.reset(subscribe, reason, ref);
    this.settleCovered();
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
      const admitted = { ...request, subscribe: this.admit(request) };
      if (!admitted.subscribe.length) return;
      if (request.since === undefined) this.goLive(admitted, []);
      else this.catchingUp.push(admitted);
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

  /** As many channels as there is room for; the others are refused, one by one. */
  private admit({ subscribe, ref }: Subscribe): string[] {
    const had = new Set([...this.live, ...this.catchingUp.flatMap((c) => c.subscribe)]);
    return subscribe.filter((channel) => {
      if (had.has(channel) || had.size < this.room) return had.add(channel);
      this.frames.push({ error: { code: "limit_exceeded", message: "at most", channel, ref } });
      return false;
    });
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
    this.reset(request.subscribe, "expired", request.ref);
  }

  private reset(channels: readonly string[], reason: string, ref?: number) {
    for (const name of channels) this.live.add(name);
    this.frames.push({ reset: channels, reason, cursor: String(this.position), ...(ref !== undefined && { ref }) });
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

  private settleCovered() {
    for (const xid of this.settling.filter((xid) => xid <= this.position)) this.settle(xid);
    this.settling = this.settling.filter((xid) => xid > this.position);
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
