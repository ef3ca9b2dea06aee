"use client";
/** React: who is on a channel now. */
import { useMemo, useSyncExternalStore } from "react";
import { EMPTY, type PresenceOptions, type PresenceSnapshot, presenceStore } from "./members.js";
import { useClient } from "./react.js";
import type { PresenceName } from "./types.js";

export type { PresenceOptions, PresenceSnapshot } from "./members.js";

/**
 * Who is on a channel now. The viewer is there too while the component is mounted, unless `join` is false; `null` turns it off.
 * The channel is one that is declared with presence: `usePresence(channel.runs(id))`.
 */
export function usePresence<C extends PresenceName>(channel: C | null, { join = true }: PresenceOptions = {}): PresenceSnapshot<C> {
  const client = useClient();
  const store = useMemo(() => presenceStore(client, channel, { join }), [client, channel, join]);
  return useSyncExternalStore(store.subscribe, store.get, onServer);
}

const onServer = () => EMPTY;
