"use client";
/** React: hooks for a client that lives outside React. */
import {
  createContext,
  type ReactElement,
  type ReactNode,
  useContext,
  useEffect,
  useInsertionEffect,
  useMemo,
  useState,
  useSyncExternalStore,
} from "react";
import type { Client, SubscribeOptions } from "./options.js";
import type { Connection } from "./core/machine.js";
import { type ChannelStateOptions, channelStore, type Snapshot } from "./state.js";
import type { ChannelName, Payload } from "./types.js";

export type { ChannelStateOptions } from "./state.js";

export type ChannelState<S> = Snapshot<S> & {
  /** Load again; the present data stays until then. */
  readonly reload: () => void;
};

const ClientContext = createContext<Client | undefined>(undefined);

export function RealtimeProvider(props: { readonly client: Client; readonly children?: ReactNode }): ReactElement {
  return <ClientContext.Provider value={props.client}>{props.children}</ClientContext.Provider>;
}

export function useClient(): Client {
  const client = useContext(ClientContext);
  if (!client) throw new Error("no <RealtimeProvider> above this component");
  return client;
}

/** `subscribe` is stable and returns `unsubscribe`: return that from an effect. */
export const useWebSocket: () => Pick<Client, "subscribe"> = useClient;

/** What a server renders, and a page first: a boundary may be hydrated when the connection is open already. */
const BEFORE: Connection = { status: "connecting", fresh: false, since: 0, attempts: 0, code: undefined };
const before = () => BEFORE;

export function useConnection(): Connection {
  const { connection } = useClient();
  return useSyncExternalStore(connection.subscribe, connection.get, before);
}

/** Subscribe to a channel while mounted; `null` turns it off. Handler and callbacks need not be stable. */
export function useChannel<C extends ChannelName>(
  channel: C | null,
  handler: (payload: Payload<C>) => void,
  options?: SubscribeOptions<C>,
): void {
  const { subscribe } = useClient();
  const latest = useLatest({ ...options, handler });
  const since = options?.since;
  useEffect(
    () => (channel === null ? undefined : subscribe(channel, (payload) => latest.handler(payload), latest)),
    [subscribe, channel, since, latest],
  );
}

/**
 * State that is loaded once and updated by a channel's events, without a gap or an overlap: the subscription begins at
 * the cursor of the loaded snapshot. After a reset the state is loaded again; a failed load is reported and retried.
 */
export function useChannelState<C extends ChannelName, S>(
  channel: C | null,
  options: ChannelStateOptions<C, S> & { readonly initial: S },
): ChannelState<S>;
export function useChannelState<C extends ChannelName, S>(
  channel: C | null,
  options: ChannelStateOptions<C, S>,
): ChannelState<S | undefined>;
export function useChannelState<C extends ChannelName, S>(
  channel: C | null,
  options: ChannelStateOptions<C, S> & { readonly initial?: S },
): ChannelState<S | undefined> {
  const client = useClient();
  const latest = useLatest(options);
  const store = useMemo(() => channelStore(client, channel, latest), [client, channel, latest]);
  const shown = useSyncExternalStore(store.subscribe, store.get, store.get);
  return { ...shown, reload: store.reload };
}

/** One object for a component's whole life, with the values of the last render. */
function useLatest<T extends object>(value: T): T {
  const [latest] = useState(() => ({ ...value }));
  useInsertionEffect(() => void Object.assign(latest, value));
  return latest;
}
