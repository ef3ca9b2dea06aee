// What the tests in a real browser may look at: `window.__flowcraft`. Nothing in the page reads it.
import { useEffect } from "react";

export interface Probe {
  /** How often React committed a component that counts itself. */
  readonly commits: Record<string, number>;
  /** The audit's verdict at this moment, not throttled as the badge is. */
  audit: () => object | null;
}

declare global {
  interface Window {
    __flowcraft?: Probe;
  }
}

export const probe: Probe = { commits: {}, audit: () => null };
window.__flowcraft = probe;

/** Counts the commits of the component that calls it. */
export function useCommitCount(name: string): void {
  useEffect(() => {
    probe.commits[name] = (probe.commits[name] ?? 0) + 1;
  });
}
