import { expect, it } from "vitest";
import { ago, duration, elapsed, percent, plural } from "./format";

const now = Date.parse("2026-11-22T20:13:00Z");
const before = (seconds: number) => new Date(now - seconds * 1000).toISOString();

it("writes durations as short as they are exact enough", () => {
  expect([0, 400, 9949, 9950, 59_400, 59_600, 184_000, 7_500_000].map(duration)).toEqual(
    ["0.0 s", "0.4 s", "9.9 s", "10 s", "59 s", "1 m 00 s", "3 m 04 s", "2 h 05 m"],
  );
});

it("tells how long ago something was, and takes a clock that is ahead for now", () => {
  expect([-5, 0, 12, 200, 7300, 200_000].map((seconds) => ago(before(seconds), now))).toEqual(
    ["now", "now", "12 s ago", "3 m ago", "2 h ago", "2 d ago"],
  );
});

it("ticks while something goes on and stops when it has ended", () => {
  expect(elapsed({ started_at: null, finished_at: null }, now)).toBeNull();
  expect(elapsed({ started_at: before(8), finished_at: null }, now)).toBe(8000);
  expect(elapsed({ started_at: before(8), finished_at: before(2) }, now)).toBe(6000);
});

it("writes shares and counts", () => {
  expect([0, 0.914, 0.9996, 1].map(percent)).toEqual(["0%", "91.4%", "100%", "100%"]);
  expect([plural(1, "run"), plural(1200, "run")]).toEqual(["1 run", "1,200 runs"]);
});
