// The auditor: a plain handler like any other, which passes each event to the ledger, and from time to time asks the database.
import type { Client, Unsubscribe } from "@flowcraft/realtime";
import type { RunVersion } from "@/lib/api";
import { channel, type LogLine, type RunUpdate, type StepUpdate } from "@/realtime.gen";
import { Ledger, type Verdict } from "./ledger";

export interface Report extends Verdict {
  /** When the database was last compared with, in milliseconds; null before the first time. */
  readonly comparedAt: number | null;
}

export interface Auditor {
  /** An external store: what `useSyncExternalStore` wants. Renewed at most every `SHOWN_EVERY_MS`. */
  readonly get: () => Report;
  readonly subscribe: (listener: () => void) => () => void;
  /** The verdict at this moment. */
  readonly verdict: () => Verdict;
  readonly start: () => Unsubscribe;
  /** Also checks a run, its steps and its lines on the run's own channels. */
  readonly follow: (runId: string) => Unsubscribe;
}

/** Reads the database's versions, and the transaction in which they were read. */
export type ReadVersions = () => Promise<{ readonly data: readonly RunVersion[]; readonly xid: string }>;

const COMPARE_EVERY_MS = 10_000;
const SHOWN_EVERY_MS = 250;

export function createAuditor(client: Pick<Client, "subscribe" | "settled">, read: ReadVersions): Auditor {
  const ledger = new Ledger();
  const listeners = new Set<() => void>();
  let comparedAt: number | null = null;
  let shown: Report = { ...ledger.verdict, comparedAt };
  let showing: ReturnType<typeof setTimeout> | undefined;
  let comparing = false;
  let live = false; // the subscription has everything: from here on it can be held against the database
  let era = 0; // grows with every reset: a comparison begun before does not apply after it

  const show = () => {
    showing ??= setTimeout(() => {
      showing = undefined;
      shown = { ...ledger.verdict, comparedAt };
      for (const listener of listeners) listener();
    }, SHOWN_EVERY_MS);
  };

  const restart = () => {
    era += 1;
    ledger.restart();
    show();
  };

  const compare = async () => {
    if (comparing || !live) return;
    comparing = true;
    const begun = era;
    try {
      const { data, xid } = await read();
      await client.settled(xid);
      if (begun !== era) return;
      ledger.compare(data);
      comparedAt = Date.now();
      show();
    } catch {
      // The service is away or has restarted: nothing was learned. The badge shows when it was last asked.
    } finally {
      comparing = false;
    }
  };

  const start = () => {
    const unsubscribe = client.subscribe(
      channel.runUpdate,
      (event) => {
        ledger.record(channel.runUpdate, event);
        show();
      },
      {
        onReset: restart,
        onGone: () => void compare(),
        onFresh: (fresh) => {
          live = fresh;
          void compare();
        },
      },
    );
    const timer = setInterval(() => void compare(), COMPARE_EVERY_MS);
    return () => {
      clearInterval(timer);
      unsubscribe();
      live = false;
      era += 1;
      ledger.leave(channel.runUpdate);
    };
  };

  const follow = (runId: string) => {
    const events = channel.runs(runId);
    const steps = channel.stepRows(runId);
    const record = (name: string) => (event: RunUpdate | StepUpdate | LogLine) => {
      ledger.record(name, event);
      show();
    };
    // The run page shows a refusal, and what is gone.
    const quiet = { onGone: () => undefined, onError: () => undefined };
    const ends = [
      client.subscribe(events, record(events), { ...quiet, onReset: restart }),
      client.subscribe(steps, record(steps), { ...quiet, onRows: ({ rows }) => ledger.join(steps, rows) }),
    ];
    return () => {
      for (const end of ends) end();
      for (const name of [events, steps]) ledger.leave(name);
    };
  };

  return {
    get: () => shown,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    verdict: () => ledger.verdict,
    start,
    follow,
  };
}
