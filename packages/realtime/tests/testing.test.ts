/** The server in memory that tests are given: it keeps the protocol's promises, and lets a test break its own. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createTestRealtime, type TestRealtime } from "../src/testing.js";

let realtime: TestRealtime;
const errors = vi.fn();

beforeEach(() => {
  errors.mockClear();
  realtime = createTestRealtime({ onError: errors });
});
afterEach(() => realtime.close());

const listen = (channel: string, since?: string) => {
  const heard: unknown[] = [];
  const onReset = (error: { code: string }) => heard.push(`reset: ${error.code}`);
  const onError = (error: { code: string }) => heard.push(`refused: ${error.code}`);
  const options = { onReset, onError, ...(since !== undefined && { since }) };
  return { heard, leave: realtime.client.subscribe(channel, (payload) => heard.push(payload), options) };
};

test("what is emitted right after a subscription is heard, and only on its own channel", async () => {
  const { heard } = listen("run_update");
  await realtime.broadcast("run_update", 1);
  await realtime.broadcast("system", 2);
  expect(heard).toEqual([1]);
});

test("a handler gets what a browser would: the JSON of it", async () => {
  const { heard } = listen("run_update");
  await realtime.broadcast("run_update", { at: new Date(0), nothing: undefined });
  expect(heard).toEqual([{ at: "1970-01-01T00:00:00.000Z" }]);
});

test("the events of a transaction arrive in one go", async () => {
  const goes: unknown[][] = [[]];
  for (const channel of ["run_update", "system"])
    realtime.client.subscribe(channel, (payload) => {
      if (!goes.at(-1)?.length) queueMicrotask(() => goes.push([]));
      goes.at(-1)?.push(payload);
    });
  await realtime.commit([
    { channel: "system", payload: 1 },
    { channel: "run_update", payload: 2 },
    { channel: "system", payload: 3 },
  ]);
  await realtime.broadcast("run_update", 4);
  expect(goes).toEqual([[1, 2, 3], [4], []]);
});

test("a row that is gone and a skipped event arrive in the order of the events, also in a replay", async () => {
  const hearing = () => {
    const heard: unknown[] = [];
    return {
      heard,
      onGone: (gone: unknown) => heard.push({ gone }),
      onSkipped: ({ code, channel }: { code: string; channel: string | undefined }) => heard.push({ code, channel }),
    };
  };
  const cursor = realtime.cursor();
  const live = hearing();
  realtime.client.subscribe("runs.7", (payload) => live.heard.push(payload), live);
  await realtime.commit([
    { channel: "runs.7", payload: { id: 1, gone: 1 } },
    { channel: "runs.7", gone: { id: 1 } },
    { channel: "runs.8", gone: { id: 2 } },
    { channel: "runs.7", payload: { id: 3 } },
  ]);
  await realtime.gone("runs.7", { id: 3 });
  await realtime.skip("runs.7");
  await realtime.skip("runs.7", "too_large");
  const expected = [
    { id: 1, gone: 1 },
    { gone: { id: 1 } },
    { id: 3 },
    { gone: { id: 3 } },
    { code: "payload_invalid", channel: "runs.7" },
    { code: "too_large", channel: "runs.7" },
  ];
  const later = hearing();
  realtime.client.subscribe("runs.7", (payload) => later.heard.push(payload), { ...later, since: cursor });
  await realtime.settle();
  expect(live.heard).toEqual(expected);
  expect(later.heard).toEqual(expected);
  expect(errors).not.toHaveBeenCalled();
});

test("without handlers a row that is gone is ignored, and the first skipped event is reported", async () => {
  const { heard } = listen("runs.7");
  await realtime.gone("runs.7", { id: 1 });
  expect(errors).not.toHaveBeenCalled();
  await realtime.skip("runs.7", "too_large");
  await realtime.skip("runs.7", "unreadable");
  await realtime.broadcast("runs.7", 1);
  expect(heard).toEqual([1]);
  expect(errors.mock.calls).toEqual([[expect.objectContaining({ code: "too_large", channel: "runs.7" })]]);
});

test("after a handler has unsubscribed it is not called, not even for the rest of its group", async () => {
  const heard: unknown[] = [];
  const leave = realtime.client.subscribe("runs.7", () => leave(), {
    onGone: (gone) => heard.push(gone),
    onSkipped: (error) => heard.push(error),
  });
  await realtime.commit([
    { channel: "runs.7", payload: 1 },
    { channel: "runs.7", gone: { id: 1 } },
  ]);
  expect(heard).toEqual([]);
});

test("a subscription since a cursor hears what came after it, once", async () => {
  await realtime.broadcast("run_update", 1);
  const cursor = realtime.cursor();
  const { cursor: later } = await realtime.broadcast("run_update", 2);
  const first = listen("run_update", cursor);
  const second = listen("run_update", later);
  await realtime.broadcast("run_update", 3);
  expect([first.heard, second.heard]).toEqual([[2, 3], [3]]);
});

test("while it is disconnected nothing is heard, and after it everything is", async () => {
  const { heard } = listen("run_update");
  await realtime.settle();
  await realtime.disconnect();
  await realtime.broadcast("run_update", 1);
  await realtime.broadcastEphemeral("run_update", "missed");
  expect([heard, realtime.client.connection.get().status]).toEqual([[], "waiting"]);
  await realtime.reconnect();
  expect([heard, realtime.client.connection.get().status]).toEqual([[1], "open"]);
});

test("a final close code stops the client until it is told to go on", async () => {
  const { heard } = listen("run_update");
  await realtime.disconnect(4500);
  expect(realtime.client.connection.get().status).toBe("stopped");
  expect(errors).toHaveBeenCalledOnce();
  await realtime.reconnect();
  await realtime.broadcast("run_update", 1);
  expect(heard).toEqual([1]);
});

test("a reset is heard by who is live, and later by whoever comes with an older cursor", async () => {
  const live = listen("run_update");
  await realtime.settle();
  const before = realtime.cursor();
  await realtime.reset("rewound");
  const late = listen("run_update", before);
  const fresh = listen("run_update", realtime.cursor());
  const wrong = listen("run_update", "of something else");
  await realtime.broadcast("run_update", 1);
  expect([live.heard, late.heard, fresh.heard]).toEqual([["reset: rewound", 1], ["reset: rewound", 1], [1]]);
  expect(wrong.heard).toEqual(["reset: malformed", 1]);
});

test("a refused channel is refused to those on it and to those who come, until it is allowed", async () => {
  const live = listen("run_update");
  const other = listen("system");
  await realtime.settle();
  await realtime.refuse("run_update");
  const late = listen("run_update");
  await realtime.broadcast("run_update", 1);
  await realtime.broadcast("system", 2);
  expect([live.heard, late.heard, other.heard]).toEqual([["refused: forbidden"], ["refused: forbidden"], [2]]);
  realtime.allow("run_update");
  await realtime.reconnect();
  await realtime.broadcast("run_update", 3);
  expect([live.heard.at(-1), late.heard.at(-1)]).toEqual([3, 3]);
});

test("read your writes: settled resolves once that transaction is here", async () => {
  const { heard } = listen("run_update");
  const { xid } = await realtime.broadcast("run_update", 1);
  await realtime.client.settled(xid);
  let done = false;
  void realtime.client.settled(BigInt(xid) + 1n).then(() => (done = true));
  await realtime.settle();
  expect(done).toBe(false);
  await realtime.broadcast("system", 2);
  expect([done, heard]).toEqual([true, [1]]);
});

test("an ephemeral event reaches who is there", async () => {
  const { heard } = listen("run_update");
  await realtime.broadcastEphemeral("run_update", "typing");
  expect(heard).toEqual(["typing"]);
});

test("subscriptions are visible, and gone once they have ended", async () => {
  const first = listen("system");
  const second = listen("run_update");
  listen("run_update");
  expect(realtime.subscriptions()).toEqual(["run_update", "run_update", "system"]);
  first.leave();
  second.leave();
  second.leave();
  expect(realtime.subscriptions()).toEqual(["run_update"]);
  realtime.close();
  expect(realtime.subscriptions()).toEqual([]);
  await realtime.settle();
});

test("no timer has to pass, also where a test has stopped them", async () => {
  vi.useFakeTimers();
  try {
    const { heard } = listen("run_update");
    await realtime.broadcast("run_update", 1);
    await realtime.disconnect();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(realtime.client.connection.get().attempts).toBeGreaterThan(2);
    await realtime.reconnect();
    await realtime.broadcast("run_update", 2);
    expect(heard).toEqual([1, 2]);
  } finally {
    vi.useRealTimers();
  }
});
