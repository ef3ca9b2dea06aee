/** Members: who is on a channel now, as the rows of a channel of their own. */
import type { Client } from "./options.js";
import { type RowsSnapshot, sharedStore } from "./collection.js";
import type { Member, MembersName, PresenceName } from "./types.js";

export type PresenceOptions = {
  /** False: see who is there without being shown. */
  readonly join?: boolean;
};

export type PresenceSnapshot<C extends PresenceName> = {
  /**
   * Who is there, sorted by `id`; empty until that is known, and while there are more than the server lists (500).
   * Of two pages of one person, one member.
   */
  readonly members: readonly Member<C>[];
  /** How many are there, also where `members` is empty: then it follows once in a second. */
  readonly count: number;
  /** Whether `members` and `count` are known to be those of now. */
  readonly fresh: boolean;
  /** The reason if not: the channel was refused, or its members cannot be read now (which is tried again). */
  readonly error: unknown;
};

/** A store for any framework, as `RowsStore` is. The viewer is present while it has subscribers. */
export type PresenceStore<C extends PresenceName> = {
  /** Calls `run` now and after each change; returns the function that unsubscribes. */
  readonly subscribe: (run: (snapshot: PresenceSnapshot<C>) => void) => () => void;
  readonly get: () => PresenceSnapshot<C>;
};

export const EMPTY: PresenceSnapshot<never> = { members: [], count: 0, fresh: false, error: undefined };

/** The name of the channel with the members of another one: `runs_members.7` for `runs.7`. */
export const membersOf = <C extends PresenceName>(channel: C): MembersName<C> =>
  channel.replace(/\.|$/, (dot) => `_members${dot}`) as MembersName<C>;

export function presenceStore<C extends PresenceName>(
  client: Client,
  channel: C | null,
  { join = true }: PresenceOptions = {},
): PresenceStore<C> {
  const rows = sharedStore<MembersName<C>>(client, channel === null ? null : membersOf(channel), join);
  let from: RowsSnapshot<MembersName<C>> | undefined;
  let shown: PresenceSnapshot<C> = EMPTY;
  const get = () => {
    const snapshot = rows.get();
    if (snapshot === from) return shown;
    from = snapshot;
    const { rows: members = EMPTY.members, skipped, fresh, error } = snapshot;
    return (shown = { members, count: members.length + skipped, fresh, error });
  };
  return { get, subscribe: (run) => rows.subscribe(() => run(get())) };
}
