// The ledger: which number each row has reached, as seen by this page, and what went wrong on the way. No I/O, no clock.
import type { RunVersion } from "@/lib/api";
import { channel as channels, type LogLine, type RunUpdate, type StepUpdate } from "@/realtime.gen";
import { add, arrive, claim, joinedAt, newborn, nothing, type Counts, type Step, type Track } from "./tally";

export interface Verdict extends Counts {
  /** Numbers that arrived and were checked. */
  readonly checked: number;
  /** Rows and logs that are being followed. */
  readonly sources: number;
  /** Rows in the last comparison with the database; null before the first. */
  readonly compared: number | null;
  /** The number of resets, after each of which the count begins again. */
  readonly restarts: number;
}

const RUN_UPDATE = channels.runUpdate;
const SOURCES_KEPT = 20_000;

export class Ledger {
  #tracks = new Map<string, Track>();
  #counts = nothing;
  #checked = 0;
  #compared: number | null = null;
  #restarts = 0;
  /** The newest run that existed when the audit began: a run with a higher number is born under its eyes. */
  #newest: number | null = null;

  /** An event of `channel` arrived. */
  record(channel: string, event: RunUpdate | StepUpdate | LogLine): void {
    const { source, number } = fact(event);
    const key = `${channel} ${source}`;
    const track = this.#tracks.get(key) ?? (this.#sawBirth(channel, event) ? newborn : joinedAt(number - 1));
    this.#checked += 1;
    this.#take(key, arrive(track, number));
  }

  /** The rows of `channel` have been read: what follows counts on from their versions. */
  join(channel: string, rows: readonly StepUpdate[]): void {
    this.leave(channel);
    for (const row of rows) {
      const { source, number } = fact(row);
      this.#tracks.set(`${channel} ${source}`, joinedAt(number));
    }
  }

  /**
   * The database's versions of the newest runs, once their events have had the time to arrive.
   * A row that is still unknown joins at the first comparison; at a later one it is a run that never came.
   */
  compare(versions: readonly RunVersion[]): void {
    this.#newest ??= Math.max(0, ...versions.map((row) => row.number));
    for (const row of versions) {
      const key = `${RUN_UPDATE} ${runSource(row.run_id)}`;
      const track = this.#tracks.get(key);
      if (track !== undefined) this.#take(key, claim(track, row.version));
      else if (row.number > this.#newest) this.#take(key, claim(newborn, row.version));
      else this.#take(key, { track: joinedAt(row.version), change: nothing });
    }
    this.#compared = versions.length;
    this.#forget();
  }

  /** The server reset the channel: the counts stay, the expectations begin again. */
  restart(): void {
    this.#tracks.clear();
    this.#newest = null;
    this.#compared = null;
    this.#restarts += 1;
  }

  /** The page stopped following `channel`: a later subscription joins wherever its rows are by then. */
  leave(channel: string): void {
    if (channel === RUN_UPDATE) this.#newest = null;
    for (const key of this.#tracks.keys()) if (key.startsWith(`${channel} `)) this.#tracks.delete(key);
  }

  get verdict(): Verdict {
    return {
      ...this.#counts,
      checked: this.#checked,
      sources: this.#tracks.size,
      compared: this.#compared,
      restarts: this.#restarts,
    };
  }

  #sawBirth(channel: string, event: RunUpdate | StepUpdate | LogLine): boolean {
    return channel === RUN_UPDATE && event.type === "RunUpdate" && this.#newest !== null && event.number > this.#newest;
  }

  #take(key: string, { track, change }: Step): void {
    this.#tracks.set(key, track);
    this.#counts = add(this.#counts, change);
  }

  #forget(): void {
    for (const key of this.#tracks.keys()) {
      if (this.#tracks.size <= SOURCES_KEPT) return;
      this.#tracks.delete(key); // a Map keeps the order of insertion: the oldest go first
    }
  }
}

/** Which source of numbers an event belongs to, and the number it carries. */
function fact(event: RunUpdate | StepUpdate | LogLine): { readonly source: string; readonly number: number } {
  switch (event.type) {
    case "RunUpdate":
      return { source: runSource(event.run_id), number: event.version };
    case "StepUpdate":
      return { source: `step ${event.run_id} ${event.position}`, number: event.version };
    case "LogLine":
      return { source: `log ${event.run_id}`, number: event.number };
    default:
      return event satisfies never;
  }
}

function runSource(runId: string): string {
  return `run ${runId}`;
}
