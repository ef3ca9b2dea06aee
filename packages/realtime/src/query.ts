/**
 * The TanStack Query bridge: queries whose cached data is updated by a channel's events, without gap or overlap.
 *
 * The cache holds `{ data, cursor }`, and the bridge subscribes from that cursor: only the server knows which events the
 * data includes, since a browser does not compare cursors. A refetch may be older than events that the cache includes.
 * So it becomes a draft with a subscription from its own cursor, and replaces the cache only once both subscriptions
 * are live: then both include all events up to the same cursor, and the draft is not older.
 */
import type { Client } from "./options.js";
import type { Cursor } from "./core/frames.js";
import type { ChannelName, Gone, Payload } from "./types.js";

/** State and the cursor of its snapshot: the data in the cache. */
export type Positioned<S> = { readonly data: S; readonly cursor: Cursor };

/** The part of a `queryFn`'s context that is used. */
export type QueryContext = {
  readonly client: object;
  readonly queryKey: readonly unknown[];
  readonly signal: AbortSignal;
};

/** The part of TanStack's `QueryClient` (version 5, of any framework) that is used. */
export type QueryClientLike = {
  getQueryCache(): {
    find(filters: { queryKey: readonly unknown[]; exact: true }): QueryLike | undefined;
    getAll(): readonly QueryLike[];
    subscribe(listener: (event: CacheEvent) => void): () => void;
  };
  setQueryData(queryKey: readonly unknown[], data: Positioned<unknown>): unknown;
  invalidateQueries(filters: { queryKey: readonly unknown[]; exact: true }): Promise<void>;
};
type QueryLike = {
  readonly queryHash: string;
  readonly queryKey: readonly unknown[];
  readonly options: { readonly queryFn?: unknown };
  readonly state: { readonly data: unknown };
  getObserversCount(): number;
};
type CacheEvent = {
  readonly type: string;
  readonly query: QueryLike;
  readonly action?: { readonly type: string; readonly manual?: boolean };
};

export type ChannelQueryOptions<C extends ChannelName, S> = {
  readonly queryKey: readonly unknown[];
  /** Load the state and the cursor of the same snapshot. */
  readonly load: (context: QueryContext) => Promise<Positioned<S>>;
  /** Apply one event; pure. */
  readonly reduce: (data: S, payload: Payload<C>) => S;
  /** Remove the row that left the channel; pure. Without it, the query is loaded again. */
  readonly gone?: (data: S, key: Gone<C>) => S;
};

export type ChannelQuery<S> = {
  readonly queryKey: readonly unknown[];
  readonly queryFn: (context: QueryContext) => Promise<Positioned<S>>;
  readonly select: (stored: Positioned<S>) => S;
  /** Infinite: events keep the data up to date. */
  readonly staleTime: number;
  /** `reduce` keeps unchanged parts; a deep comparison for every event would cost more than it saves. */
  readonly structuralSharing: false;
};

type Reduce = (data: unknown, change: unknown) => unknown;
type Plan = { readonly channel: ChannelName; readonly reduce: Reduce; readonly gone: Reduce | undefined };
type Refetch = (context: QueryContext, load: (context: QueryContext) => Promise<Positioned<unknown>>) => Promise<unknown>;

/** By `queryFn`: other options may be serialized from a server to a page, and functions cannot be. */
const plans = new WeakMap<object, Plan>();
/** By TanStack's `QueryClient`. */
const bridges = new WeakMap<object, Refetch>();

/** Options for `useQuery` and the like: state that is loaded once and updated by a channel's events. */
export const channelQuery = <C extends ChannelName, S>(
  channel: C,
  { queryKey, load, reduce, gone }: ChannelQueryOptions<C, S>,
): ChannelQuery<S> => {
  // Without a bridge, such as in server-side rendering, the query only loads.
  const queryFn = async (context: QueryContext) =>
    (await (bridges.get(context.client)?.(context, load) ?? load(context))) as Positioned<S>; // the result of `load`, reduced
  // of this channel's payloads and this query's data
  plans.set(queryFn, { channel, reduce: reduce as Reduce, gone: gone as Reduce | undefined });
  return { queryKey, queryFn, select: (stored) => stored.data, staleTime: Infinity, structuralSharing: false };
};

/** The subscription of one query: for the data in the cache, or for a draft that will replace it. */
type Reader = {
  readonly query: QueryLike;
  /** The cursor of its data: in the cache, or of the draft. */
  cursor: Cursor;
  live: boolean;
  refused: boolean;
  /** The number of received events. */
  received: number;
  draft: Draft | undefined;
  end: () => void;
};
type Draft = {
  data: unknown;
  /** Check whether the draft may replace the cache. */
  readonly check: () => void;
  readonly fail: (error: Error) => void;
};

/**
 * Subscribe every observed query of `channelQuery` to its channel; returns the function that stops this.
 * Call it once, where the two clients are created.
 */
export const followQueries = (client: Client, queryClient: QueryClientLike): (() => void) => {
  const cache = queryClient.getQueryCache();
  const readers = new Map<string, Reader>();
  const drafts = new Map<string, Reader>();
  /** Cursors from which a query's events cannot be replayed, until the query is loaded again. */
  const broken = new Map<string, Cursor>();
  /** The query that is being written here: its cache events are ignored. */
  let writing: QueryLike | undefined;

  const write = (reader: Reader, stored: Positioned<unknown>) => {
    const outer = writing; // a listener of this write may cause another
    writing = reader.query;
    reader.cursor = stored.cursor;
    try {
      queryClient.setQueryData(reader.query.queryKey, stored);
    } finally {
      writing = outer;
    }
  };

  const read = (query: QueryLike, plan: Plan, since: Cursor, draft?: Draft): Reader => {
    const reader: Reader = {
      query,
      cursor: since,
      live: false,
      refused: false,
      received: 0,
      draft,
      end: () => undefined,
    };
    const changed = () => drafts.get(query.queryHash)?.draft?.check();
    const skip = (cause?: unknown) => {
      if (reader.draft) reader.draft.fail(new Error("an event was missed", { cause }));
      else spoil(reader);
    };
    reader.end = client.subscribe(plan.channel, (payload) => receive(reader, payload, (planOf(query) ?? plan).reduce), {
      since,
      onGone: (key) => {
        const { gone } = planOf(query) ?? plan;
        if (gone) receive(reader, key, gone);
        else skip();
      },
      onSkipped: skip,
      onFresh: (fresh) => {
        reader.live = fresh;
        if (fresh && reader.draft) reader.cursor = client.position() ?? since;
        changed();
      },
      onError: () => {
        reader.refused = true;
        changed();
      },
      onReset: skip,
    });
    return reader;
  };

  const receive = (reader: Reader, change: unknown, reduce: Reduce) => {
    const { query, draft } = reader;
    reader.received += 1;
    // The group is delivered synchronously, so at its end the data is at the connection's cursor.
    const cursor = client.position() ?? reader.cursor;
    try {
      if (draft) {
        draft.data = reduce(draft.data, change);
        reader.cursor = cursor;
      } else write(reader, { data: reduce(positioned(query)?.data, change), cursor });
    } catch (error) {
      if (draft) draft.fail(new Error("an event could not be reduced", { cause: error }));
      else spoil(reader);
      throw error; // the client reports it
    }
  };

  /** The cached data has a gap: unsubscribe, and load it again. */
  const spoil = ({ query, cursor }: Reader) => {
    stop(query);
    broken.set(query.queryHash, cursor);
    void queryClient.invalidateQueries({ queryKey: query.queryKey, exact: true });
  };

  const stop = ({ queryHash }: QueryLike) => {
    readers.get(queryHash)?.end();
    readers.delete(queryHash);
    drafts.get(queryHash)?.draft?.check();
  };

  /** Subscribe to the channel from the cached cursor while the query is observed. */
  const attend = (query: QueryLike) => {
    const { queryHash } = query;
    const plan = planOf(query);
    const stored = positioned(query);
    if (!plan || !stored || !query.getObserversCount()) {
      stop(query);
      return;
    }
    // Data written with the same cursor is an optimistic change: its subscription exists already.
    if ([readers.get(queryHash)?.cursor, broken.get(queryHash)].includes(stored.cursor)) return;
    broken.delete(queryHash);
    readers.get(queryHash)?.end();
    readers.set(queryHash, read(query, plan, stored.cursor));
  };

  const refetch: Refetch = async (context, load) => {
    const query = cache.find({ queryKey: context.queryKey, exact: true });
    const reader = query && readers.get(query.queryHash);
    const received = reader?.received;
    const loaded = await load(context);
    const plan = query && planOf(query);
    // No cached data that it could be older than; or the fetch is cancelled.
    if (!plan || !readers.has(query.queryHash) || context.signal.aborted) return loaded;
    return new Promise((resolve, reject) => {
      /** Offline, and no event received since the load began: the loaded data is newer than the cache. */
      const isLater = (now: Reader) =>
        client.connection.get().status !== "open" && now === reader && now.received === received;
      const check = () => {
        const now = readers.get(query.queryHash);
        if (!now || draft.refused || hasStopped() || (draft.live && now.live) || isLater(now))
          resolve({ data: draft.draft?.data, cursor: draft.cursor });
      };
      const fail = (error: Error) => {
        drop(draft);
        reject(error); // TanStack retries
      };
      drafts.get(query.queryHash)?.end();
      const draft = read(query, plan, loaded.cursor, { data: loaded.data, check, fail });
      drafts.set(query.queryHash, draft);
      context.signal.addEventListener("abort", () => drop(draft));
      check();
    });
  };

  const drop = (draft: Reader) => {
    if (!draft.draft) return; // it is in the cache already
    draft.end();
    if (drafts.get(draft.query.queryHash) === draft) drafts.delete(draft.query.queryHash);
  };

  /** A fetch has written its result: its draft takes over, with the events received since. */
  const promote = (query: QueryLike) => {
    const reader = drafts.get(query.queryHash);
    const stored = positioned(query);
    if (!reader?.draft || !stored) return;
    const { data } = reader.draft;
    drafts.delete(query.queryHash);
    readers.get(query.queryHash)?.end();
    readers.set(query.queryHash, reader);
    reader.draft = undefined;
    if (stored.data !== data || stored.cursor !== reader.cursor) write(reader, { data, cursor: reader.cursor });
  };

  const forgetCache = cache.subscribe(({ type, query, action }) => {
    if (writing === query) return;
    if (type === "updated" && action?.type === "success" && !action.manual) promote(query);
    if (type === "updated" || type === "observerAdded") attend(query);
    // In StrictMode and on navigation, an observer returns immediately.
    else if (type === "observerRemoved") queueMicrotask(() => attend(query));
    else if (type === "removed") {
      stop(query);
      broken.delete(query.queryHash);
    }
  });

  const hasStopped = () => client.connection.get().status === "stopped";
  const end = () => {
    for (const reader of [...readers.values()]) stop(reader.query);
  };
  const forgetConnection = client.connection.subscribe(() => {
    // After `close()` no query is subscribed any more.
    if (hasStopped() && client.connection.get().code === undefined) end();
    for (const { draft } of [...drafts.values()]) draft?.check();
  });

  bridges.set(queryClient, refetch);
  for (const query of cache.getAll()) attend(query);
  return () => {
    bridges.delete(queryClient);
    forgetCache();
    forgetConnection();
    end();
  };
};

const planOf = ({ options: { queryFn } }: QueryLike): Plan | undefined =>
  typeof queryFn === "function" ? plans.get(queryFn) : undefined;

/** The data of a query of `channelQuery`; applications must write no other shape. */
const positioned = ({ state }: QueryLike) => state.data as Positioned<unknown> | undefined;
