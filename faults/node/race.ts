/** Races of subscriptions with their end: whatever is called after `unsubscribe` has returned is late. */
import { setImmediate, setTimeout } from "node:timers/promises";
import type { Client } from "../../packages/realtime/src/options.js";
import type { Cursor } from "../../packages/realtime/src/core/frames.js";

export type Raced = { readonly rounds: number; readonly late: number; readonly calls: number };

const LONGEST_MS = 8;
const REST_MS = 100;

/** Numbers below 1, the same for the same seed. */
const seeded = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let mixed = Math.imul(seed ^ (seed >>> 15), seed | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
};

export const race = async (client: Client, channel: string, rounds: number, seed: number): Promise<Raced> => {
  const chance = seeded(seed);
  let late = 0;
  let calls = 0;

  const pause = async () => {
    const drawn = chance();
    if (drawn < 0.2) for (let turns = chance() * 5; turns > 0; turns--) await Promise.resolve();
    else if (drawn < 0.4) await setImmediate();
    else await setTimeout(chance() * LONGEST_MS);
  };

  /** A handler that does something when it is called; returns what ends it. */
  const subscribe = (whenCalled?: () => void, since?: Cursor): (() => void) => {
    let over = false;
    const called = () => {
      if (over) late += 1;
    };
    const handler = () => {
      calls += 1;
      called();
      whenCalled?.();
    };
    const callbacks = { onFresh: called, onReset: called, onError: called };
    const unsubscribe = client.subscribe(channel, handler, since === undefined ? callbacks : { ...callbacks, since });
    return () => {
      unsubscribe();
      over = true;
    };
  };

  const moves = [
    async () => {
      const end = subscribe();
      await pause();
      end();
    },
    /** As StrictMode mounts. */
    async () => {
      subscribe()();
      const end = subscribe();
      await pause();
      end();
    },
    /** The handler ends itself while it is called. */
    async () => {
      const end = subscribe(() => end());
      await pause();
      end();
    },
    /** Likewise, while it catches up. */
    async () => {
      const since = client.position();
      await pause();
      const end = subscribe(() => end(), since);
      await pause();
      end();
    },
    /** The first of three handlers ends the others, which would be called next; then all leave one by one. */
    async () => {
      const ends = [subscribe(() => ends.slice(1).forEach((end) => end())), subscribe(), subscribe()];
      for (const end of ends) {
        await pause();
        end();
      }
    },
  ];

  for (let round = 0; round < rounds; round++) await moves[Math.floor(chance() * moves.length)]?.();
  await setTimeout(REST_MS); // for calls that are late
  return { rounds, late, calls };
};
