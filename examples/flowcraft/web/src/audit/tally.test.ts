import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { arrive, claim, joinedAt, newborn, nothing, tally } from "./tally";

const whole = [1, 2, 3, 4, 5, 6];

describe("a history of versions", () => {
  it("is sound when it counts from 1 without a gap", () => {
    expect(tally(newborn, whole)).toEqual(nothing);
  });

  it("may begin wherever the audit joined it", () => {
    expect(tally(joinedAt(41), [42, 43])).toEqual(nothing);
  });

  it("has lost what it skips", () => {
    expect(tally(newborn, [1, 2, 5, 6])).toEqual({ lost: 2, doubled: 0, outOfOrder: 0 });
  });

  it("has lost its beginning when the audit saw the row being born", () => {
    expect(tally(newborn, [3])).toEqual({ lost: 2, doubled: 0, outOfOrder: 0 });
  });

  it("has doubled what it repeats, each time", () => {
    expect(tally(newborn, [1, 2, 2, 3, 2])).toEqual({ lost: 0, doubled: 2, outOfOrder: 0 });
  });

  it("is out of order, not lost, when the missing one comes late", () => {
    expect(tally(newborn, [1, 3, 2, 4])).toEqual({ lost: 0, doubled: 0, outOfOrder: 1 });
  });

  it("is out of order when something older than its first number comes", () => {
    expect(tally(joinedAt(6), [7, 5])).toEqual({ lost: 0, doubled: 0, outOfOrder: 1 });
  });

  it("has doubled a late one that comes twice", () => {
    expect(tally(newborn, [1, 3, 2, 2])).toEqual({ lost: 0, doubled: 1, outOfOrder: 1 });
  });

  it("has lost its end when the database is further than what arrived", () => {
    const { track } = arrive(newborn, 1);
    expect(claim(track, 3)).toEqual({ track: { floor: 1, highest: 3, missing: [2, 3] }, change: { ...nothing, lost: 2 } });
    expect(claim(track, 1)).toEqual({ track, change: nothing });
  });
});

describe("any mutation of a sound history", () => {
  const history = fc.integer({ min: 2, max: 40 }).map((length) => Array.from({ length }, (_, index) => index + 1));

  it("that drops some but the last counts exactly those as lost", () => {
    fc.assert(
      fc.property(history, fc.array(fc.boolean(), { minLength: 40 }), (numbers, drops) => {
        const kept = numbers.filter((number) => number === numbers.length || drops[number] === false);
        expect(tally(newborn, kept)).toEqual({ ...nothing, lost: numbers.length - kept.length });
      }),
    );
  });

  it("that repeats some counts exactly those as doubled", () => {
    fc.assert(
      fc.property(history, fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 40 }), (numbers, repeats) => {
        const mutated = numbers.flatMap((number) => new Array<number>(1 + (repeats[number] ?? 0)).fill(number));
        expect(tally(newborn, mutated)).toEqual({ ...nothing, doubled: mutated.length - numbers.length });
      }),
    );
  });

  it("that only shuffles loses and doubles nothing, and is noticed unless it is the identity", () => {
    fc.assert(
      fc.property(
        history.chain((numbers) => fc.shuffledSubarray(numbers, { minLength: numbers.length })),
        (shuffled) => {
          const counts = tally(newborn, shuffled);
          const sorted = shuffled.every((number, index) => number === index + 1);
          expect({ lost: counts.lost, doubled: counts.doubled, sound: counts.outOfOrder === 0 }).toEqual({
            lost: 0,
            doubled: 0,
            sound: sorted,
          });
        },
      ),
    );
  });
});
