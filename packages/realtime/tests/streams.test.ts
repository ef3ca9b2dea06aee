/** One connection over many requests: what the client receives of them. */
import { expect, test } from "vitest";
import { createStreams } from "../src/core/streams.js";

const RESUME = Number.MAX_SAFE_INTEGER;
const hello = { hello: { protocol: 1, schema: "s", heartbeat: 10, cursor: "c0" } };
const event = (id: number) => ({ channel: "run_update", payload: {}, id });

/** A client with a live channel, whose stream has ended after a commit point with or without a count. */
const resuming = (sent?: number) => {
  const streams = createStreams();
  const receive = (...frames: object[]) => frames.flatMap((frame) => streams.receive(JSON.stringify(frame))).map((text) => JSON.parse(text) as unknown);
  streams.begin();
  streams.send(JSON.stringify({ subscribe: ["run_update"], ref: 1 }));
  streams.begin();
  receive(hello, { subscribed: ["run_update"], cursor: "c0", n: 0, ref: 1 }, event(1), { cursor: "c1", n: 1, sent });
  streams.send(JSON.stringify({ settle: "0" }));
  expect(streams.begin().split("\n")[0]).toBe(JSON.stringify({ subscribe: ["run_update"], since: "c1", ref: RESUME }));
  return receive;
};

test("the reply to a resume goes on with a count that was complete: a group that is lost next is replayed, without a reset", () => {
  const receive = resuming(1);
  const reply = receive(hello, event(2), { subscribed: ["run_update"], cursor: "c2", n: 1, ref: RESUME });
  expect(reply).toEqual([event(2), { cursor: "c2", n: 1, sent: 2 }]);
  expect(receive({ cursor: "c3", n: 0, sent: 2 })).toEqual([{ cursor: "c3", n: 0, sent: 3 }]);
});

test("a count that was missing before the resume is not made up for", () => {
  const reply = resuming()(hello, { subscribed: ["run_update"], cursor: "c2", n: 0, ref: RESUME });
  expect(reply).toEqual([{ cursor: "c2", n: 0 }]);
});

test("a resume that is answered in parts, with a reset of one channel, moves no cursor before the reset is passed on", () => {
  const streams = createStreams();
  const receive = (...frames: object[]) => frames.flatMap((frame) => streams.receive(JSON.stringify(frame))).map((text) => JSON.parse(text) as unknown);
  streams.begin();
  streams.send(JSON.stringify({ subscribe: ["run_update", "system"], ref: 1 }));
  streams.begin();
  receive(hello, { subscribed: ["run_update", "system"], cursor: "c0", n: 0, ref: 1 });
  streams.send(JSON.stringify({ settle: "0" }));
  streams.begin();
  expect(receive(hello, event(1), { subscribed: ["run_update"], cursor: "c1", n: 1, ref: RESUME })).toEqual([]);
  expect(receive({ reset: ["system"], reason: "truncated", cursor: "c1", ref: RESUME })).toEqual([
    { reset: ["system"], reason: "truncated", cursor: "c1" },
    event(1),
    { subscribed: ["run_update"], cursor: "c1", n: 1, sent: 1 },
  ]);
});

test("rows of a state do not count, and are held with their answer until the resume is answered", () => {
  const receive = resuming(1);
  const rows = { rows: "task_rows.7", key: ["id"], items: [{ id: 1 }] };
  expect(receive(hello, rows, { subscribed: ["task_rows.7"], cursor: "c1", n: 0, rows: 1, ref: 2 })).toEqual([]);
  expect(receive({ subscribed: ["run_update"], cursor: "c2", n: 0, ref: RESUME })).toEqual([
    { cursor: "c2", n: 0, sent: 1 },
    rows,
    { subscribed: ["task_rows.7"], cursor: "c2", n: 0, rows: 1, ref: 2 },
  ]);
});

test("a channel that an error has ended is not resumed", () => {
  const streams = createStreams();
  streams.begin();
  streams.send(JSON.stringify({ subscribe: ["task_rows.7"], rows: true, ref: 1 }));
  streams.begin();
  for (const frame of [hello, { subscribed: ["task_rows.7"], cursor: "c0", n: 0, ref: 1 }]) streams.receive(JSON.stringify(frame));
  streams.send(JSON.stringify({ subscribe: ["task_rows.7"], rows: true, ref: 2 }));
  expect(streams.begin()).toContain(String(RESUME));
  for (const frame of [hello, { subscribed: ["task_rows.7"], cursor: "c0", n: 0, ref: RESUME }]) streams.receive(JSON.stringify(frame));
  const refusal = { error: { code: "rows_unreadable", message: "a lock", channels: ["task_rows.7"], ref: 2 } };
  expect(streams.receive(JSON.stringify(refusal)).map((text) => JSON.parse(text) as unknown)).toEqual([refusal]);
  expect(streams.begin()).toBe("");
});

test("each stream is present where the client is: on resumed channels, on those that are not answered, and no longer after it left", () => {
  const streams = createStreams();
  const send = (frame: object) => streams.send(JSON.stringify(frame));
  const begin = () => streams.begin().split("\n").map((line) => JSON.parse(line) as unknown);
  const [ask, other] = ["runs_members.1", "runs_members.2"].map((name, n) => ({ subscribe: [name], rows: true, present: true, ref: n + 1 }));
  const resume = (names: readonly string[], present?: true) => ({ subscribe: names, since: "c0", present, ref: RESUME });
  streams.begin();
  send({ subscribe: ["run_update"], ref: 9 });
  expect(send(ask ?? {})).toBe(true);
  streams.begin();
  for (const [name, ref] of [["run_update", 9], ["runs_members.1", 1]] as const)
    streams.receive(JSON.stringify({ subscribed: [name], cursor: "c0", n: 0, ref }));
  send(other ?? {});
  expect(begin()).toEqual([resume(["runs_members.1"], true), resume(["run_update"]), other]);
  expect(send({ absent: ["runs_members.1", "runs_members.2"] })).toBe(true);
  expect(begin()).toEqual([resume(["run_update", "runs_members.1"]), other, { absent: ["runs_members.2"] }]);
});

test.each([["another request for it fails", 1], ["the right to it is withdrawn", undefined]])(
  "a channel that ends while its reply is held back, as %s, does not begin with the later cursor",
  (_, ref) => {
    const receive = resuming(1);
    const rows = { rows: "task_rows.7", key: ["id"], items: [{ id: 1 }] };
    const refusal = { error: { code: "rows_unreadable", message: "a lock", channels: ["task_rows.7"], ref } };
    expect(receive(hello, rows, { subscribed: ["task_rows.7"], cursor: "c1", n: 0, rows: 1, ref: 2 }, refusal)).toEqual([]);
    expect(receive({ subscribed: ["run_update"], cursor: "c2", n: 0, ref: RESUME })).toEqual([
      { cursor: "c2", n: 0, sent: 1 },
      { reset: ["task_rows.7"], reason: "unreadable", cursor: "c2", ref: 2 },
      refusal,
    ]);
  },
);

test("an error that names no channel is passed on at once", () => {
  const error = { error: { code: "invalid_token", message: "expired" } };
  expect(resuming(1)(hello, error)).toEqual([error]);
});
