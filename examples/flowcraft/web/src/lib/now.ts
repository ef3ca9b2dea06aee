// One clock for the page: every ticking duration reads it, so that all of them tick together and one timer is enough.
import { useSyncExternalStore } from "react";

const TICK_MS = 1000;
const readers = new Set<() => void>();
let now = Date.now();
let timer: ReturnType<typeof setInterval> | undefined;

function tick(): void {
  now = Date.now();
  for (const reader of readers) reader();
}

function follow(reader: () => void): () => void {
  readers.add(reader);
  if (timer === undefined) {
    now = Date.now();
    timer = setInterval(tick, TICK_MS);
  }
  return () => {
    readers.delete(reader);
    if (readers.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}

/** The time in milliseconds, renewed each second. */
export function useNow(): number {
  return useSyncExternalStore(follow, () => now);
}
