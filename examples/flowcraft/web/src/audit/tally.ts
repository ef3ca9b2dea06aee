// The audit's arithmetic: what arrived, held against the numbers the database counted. Pure; it knows no client and no clock.
//
// Every row counts its own changes (`version` 1, 2, 3 …) and every run its log lines. Where a stream is whole, the numbers of
// one source arrive as n, n+1, n+2 …; each way of going wrong leaves its own mark:
//
//     1 2 4      3 is lost
//     1 2 2 3    2 is doubled
//     1 3 2      2 is out of order (and lost until it came)
//
// A loss at the end leaves no mark. For that the database is asked which number each source has reached: `claim`.

/** What is known about one source of numbers: a row, or a run's log. */
export interface Track {
  /** The first number the audit can speak about; what came before it is not its business. */
  readonly floor: number;
  readonly highest: number;
  /** Numbers between floor and highest that have not arrived. */
  readonly missing: readonly number[];
}

export interface Counts {
  readonly lost: number;
  readonly doubled: number;
  readonly outOfOrder: number;
}

export interface Step {
  readonly track: Track;
  readonly change: Counts;
}

export const nothing: Counts = { lost: 0, doubled: 0, outOfOrder: 0 };

/** A source whose birth the audit saw: it must count from 1. */
export const newborn: Track = { floor: 1, highest: 0, missing: [] };

/** A source that had reached `number` when the audit began. */
export function joinedAt(number: number): Track {
  return { floor: number + 1, highest: number, missing: [] };
}

/** One number arrives. */
export function arrive(track: Track, number: number): Step {
  if (number > track.highest) {
    const missing = range(track.highest + 1, number);
    const change = { ...nothing, lost: missing.length };
    return { track: { ...track, highest: number, missing: [...track.missing, ...missing] }, change };
  }
  if (track.missing.includes(number)) {
    const missing = track.missing.filter((other) => other !== number);
    return { track: { ...track, missing }, change: { lost: -1, doubled: 0, outOfOrder: 1 } };
  }
  const change = number < track.floor ? { ...nothing, outOfOrder: 1 } : { ...nothing, doubled: 1 };
  return { track, change };
}

/** The source has reached `number` in the database, and everything up to there has had the time to arrive. */
export function claim(track: Track, number: number): Step {
  const missing = range(track.highest + 1, number + 1);
  if (missing.length === 0) return { track, change: nothing };
  return {
    track: { ...track, highest: number, missing: [...track.missing, ...missing] },
    change: { ...nothing, lost: missing.length },
  };
}

export function add(a: Counts, b: Counts): Counts {
  return { lost: a.lost + b.lost, doubled: a.doubled + b.doubled, outOfOrder: a.outOfOrder + b.outOfOrder };
}

/** The verdict on a whole history of one source, for tests and for reading a recording. */
export function tally(start: Track, numbers: readonly number[]): Counts {
  let track = start;
  let counts = nothing;
  for (const number of numbers) {
    const step = arrive(track, number);
    track = step.track;
    counts = add(counts, step.change);
  }
  return counts;
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index);
}
