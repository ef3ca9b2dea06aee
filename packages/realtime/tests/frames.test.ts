import { describe, expect, test } from "vitest";
import { decode } from "../src/core/frames.js";

const read = (frame: unknown) => decode(JSON.stringify(frame));

describe("the decoder", () => {
  test("an object with a channel is an event, wherever the member stands", () => {
    const event = { type: "event", channel: "run_update", content: ["payload", { status: "queued" }], id: 7 };
    expect(read({ channel: "run_update", payload: { status: "queued" }, id: 7 })).toEqual(event);
    expect(read({ id: 7, payload: { status: "queued" }, channel: "run_update" })).toEqual(event);
  });

  test("an event without an id is ephemeral", () => {
    expect(read({ channel: "system", payload: 1 })).toEqual({ type: "event", channel: "system", content: ["payload", 1], id: undefined });
  });

  test("a row that is gone and a skipped event are event frames; one of a later version has no content", () => {
    const event = { type: "event", channel: "runs.7", id: 7 };
    expect(read({ channel: "runs.7", gone: { id: 3 }, id: 7 })).toEqual({ ...event, content: ["gone", { id: 3 }] });
    expect(read({ channel: "runs.7", skipped: { reason: "too_large" }, id: 7 })).toEqual({ ...event, content: ["skipped", "too_large", undefined] });
    expect(read({ channel: "runs.7", payload: { gone: 1 }, id: 7 })).toEqual({ ...event, content: ["payload", { gone: 1 }] });
    expect(read({ channel: "runs.7", moved: {}, id: 7 })).toEqual({ ...event, content: undefined });
  });

  test("a control frame is named by its first member", () => {
    expect(read({ subscribed: ["system"], cursor: "c", n: 2, ref: 1 })).toEqual({
      type: "subscribed", channels: ["system"], cursor: "c", n: 2, ref: 1, reason: undefined,
    }); // prettier-ignore
    expect(read({ reset: ["system"], reason: "expired", cursor: "c" })).toEqual({
      type: "reset", channels: ["system"], cursor: "c", n: 0, ref: undefined, reason: "expired",
    }); // prettier-ignore
    expect(read({ cursor: "c", n: 0, at: "2026-11-22T20:13:00.000Z" })).toEqual({
      type: "cursor", channels: undefined, cursor: "c", n: 0, ref: undefined, reason: undefined,
    }); // prettier-ignore
  });

  test("members and control frames of later versions are ignored", () => {
    expect(read({ settled: "757", cursor: "c", mood: "good" })).toEqual({ type: "settled", xid: "757" });
    expect(read({ weather: "fine" })).toBeUndefined();
    expect(read({})).toBeUndefined();
  });

  test.each([
    ["not JSON", "{"],
    ["not an object", "7"],
    ["null", "null"],
    ["a channel that is no name", '{"channel":7,"payload":{},"id":1}'],
    ["an id that is no number", '{"channel":"system","payload":{},"id":"1"}'],
    ["a row that is gone without its key", '{"channel":"system","gone":3,"id":1}'],
    ["a count that is no number", '{"channel":"runs_members.7","count":"3","id":1}'],
    ["a skipped event without a reason", '{"channel":"system","skipped":{},"id":1}'],
    ["a commit point that counts nothing", '{"cursor":"c"}'],
    ["a commit point without a position", '{"cursor":null,"n":0}'],
    ["channels that are no list", '{"subscribed":"system","cursor":"c","n":0}'],
    ["channels that are no names", '{"subscribed":[1],"cursor":"c","n":0}'],
    ["a hello that says nothing", '{"hello":true}'],
    ["an error without a code", '{"error":{"message":"no"}}'],
    ["a bye that gives no time", '{"bye":{}}'],
  ])("%s is malformed", (_, message) => {
    expect(() => decode(message)).toThrow();
  });

  test("a binary message is malformed", () => {
    expect(() => decode(new ArrayBuffer(2))).toThrow();
  });
});
