/**
 * The TanStack Query bridge: queries whose cached data is followed by a channel's events, exactly.
 *
 * The cache holds `{ data, cursor }`, and whatever stands there is followed from its own cursor: what it contains
 * already is for the server to say, a browser compares no cursors. A refetch may have been read before events that the
 * cache has seen. So it becomes a draft, subscribed from its own cursor, and replaces the cache only once both
 * subscriptions are live: then both have been told everything up to the same position, and it is not older.
 */
import type { Client } from "./client.js";
import type { Cursor } from "./core/frames.js";
import type { ChannelName, Payload } from "./types.js";

/** State, and the cursor that it was read at: what the cache holds. */
export type Positioned<S> = { readonly data: S; readonly cursor: Cursor };

/** As much of the context of a `queryFn` as is used. */
export type QueryContext = {
  readonly client: object;
  readonly queryKey: readonly unknown[];
  readonly signal: AbortSignal;
};

/** As much of TanStack's `QueryClient` (version 5, of any framework) as is used. */
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
  /** Read the state and the cursor it was read at, together. */
  readonly load: (context: QueryContext) => Promise<Positioned<S>>;
  /** Apply one event; pure. */
  readonly reduce: (data: S, payload: Payload<C>) => S;
};

export type ChannelQuery<S> = {
  readonly queryKey: readonly unknown[];
  readonly queryFn: (context: QueryContext) => Promise<Positioned<S>>;
  readonly select: (stored: Positioned<S>) => S;
  /** Events keep it true, so that it does not age. */
  readonly staleTime: number;
  /** `reduce` keeps what did not change; a deep comparison for every event would cost more than it saves. */
  readonly structuralSharing: false;
};

type Plan = {
  readonly channel: ChannelName;
  readonly reduce: (data: unknown, payload: unknown) => unknown;
};
type Refetch = (context: QueryContext, load: (context: QueryContext) => Promise<Positioned<unknown>>) => Promise<unknown>;

/** By `queryFn`: what an option object holds beside it may be sent from a server to a page, and functions may not. */
const plans = new WeakMap<object, Plan>();
/** By TanStack's client. */
const bridges = new WeakMap<object, Refetch>();

/** Options for `useQuery` and the like: state that is loaded once and followed by a channel's events. */
export const channelQuery = <C extends ChannelName, S>(
  channel: C,
  { queryKey, load, reduce }: ChannelQueryOptions<C, S>,
): ChannelQuery<S> => {
  // Without a bridge, on a server that renders, a load is all there is.
  const queryFn = async (context: QueryContext) =>
    (await (bridges.get(context.client)?.(context, load) ?? load(context))) as Positioned<S>; // what `load` gave, reduced
  plans.set(queryFn, { channel, reduce: reduce as Plan["reduce"] }); // of this channel's payloads and this query's data
  return { queryKey, queryFn, select: (stored) => stored.data, staleTime: Infinity, structuralSharing: false };
};

/** One subscription for one query: for what the cache holds, or for a draft that will replace it. */
type Reader = {
  readonly query: QueryLike;
  /** Where its data stands: as the cache says it, or the draft's own position. */
  cursor: Cursor;
  live: boolean;
  refused: boolean;
  /** How many events it has heard. */
  heard: number;
  draft: Draft | undefined;
  end: () => void;
};
type Draft = {
  data: unknown;
  /** Look whether it may replace the cache. */
  readonly check: () => void;
  readonly fail: (error: Error) => void;
};

/**
 * Follow every query that was made by `channelQuery` and that somebody observes; returns the function that ends it.
 * Call it once, where the two clients are made.
 */
export const followQueries = (client: Client, queryClient: QueryClientLike): (() => void) => {
  const cache = queryClient.getQueryCache();
  const readers = new Map<string, Reader>();
  const drafts = new Map<string, Reader>();
  /** Cursors from which a query cannot be followed, until it has been loaded again. */
  const broken = new Map<string, Cursor>();
  /** The query whose next news are our own. */
  let writing: QueryLike | undefined;

  const write = (reader: Reader, stored: Positioned<unknown>) => {
    const outer = writing; // who hears of this write may cause another
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
      heard: 0,
      draft,
      end: () => undefined,
    };
    const changed = () => drafts.get(query.queryHash)?.draft?.check();
    reader.end = client.subscribe(plan.channel, (payload) => hear(reader, plan, payload), {
      since,
      onFresh: (fresh) => {
        reader.live = fresh;
        if (fresh && reader.draft) reader.cursor = client.position() ?? since;
        changed();
      },
      onError: () => {
        reader.refused = true;
        changed();
      },
      onReset: (error) => (reader.draft ? reader.draft.fail(error) : spoil(reader)),
    });
    return reader;
  };

  const hear = (reader: Reader, plan: Plan, payload: unknown) => {
    const { query, draft } = reader;
    reader.heard += 1;
    // By the end of this group, which is one go, the data will stand where the connection does.
    const cursor = client.position() ?? reader.cursor;
    try {
      const { reduce } = planOf(query) ?? plan;
      if (draft) {
        draft.data = reduce(draft.data, payload);
        reader.cursor = cursor;
      } else write(reader, { data: reduce(positioned(query)?.data, payload), cursor });
    } catch (error) {
      if (draft) draft.fail(new Error("an event could not be reduced", { cause: error }));
      else spoil(reader);
      throw error; // the client reports it
    }
  };

  /** The cached data has a hole: follow it no further, load it again. */
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

  /** Follow what the cache holds, from its own cursor, for as long as somebody observes it. */
  const attend = (query: QueryLike) => {
    const { queryHash } = query;
    const plan = planOf(query);
    const stored = positioned(query);
    if (!plan || !stored || !query.getObserversCount()) {
      stop(query);
      return;
    }
    // What was written with the same cursor is the same data with somebody's changes: it is followed already.
    if ([readers.get(queryHash)?.cursor, broken.get(queryHash)].includes(stored.cursor)) return;
    broken.delete(queryHash);
    readers.get(queryHash)?.end();
    readers.set(queryHash, read(query, plan, stored.cursor));
  };

  const refetch: Refetch = async (context, load) => {
    const query = cache.find({ queryKey: context.queryKey, exact: true });
    const reader = query && readers.get(query.queryHash);
    const heard = reader?.heard;
    const loaded = await load(context);
    const plan = query && planOf(query);
    // Nothing that it could be older than; or cancelled, and nobody will look at it.
    if (!plan || !readers.has(query.queryHash) || context.signal.aborted) return loaded;
    return new Promise((resolve, reject) => {
      /** Offline, and nothing heard since the load began: it was read later than what the cache holds. */
      const isLater = (now: Reader) =>
        client.connection.get().status !== "open" && now === reader && now.heard === heard;
      const check = () => {
        const now = readers.get(query.queryHash);
        if (!now || draft.refused || hasStopped() || (draft.live && now.live) || isLater(now))
          resolve({ data: draft.draft?.data, cursor: draft.cursor });
      };
      const fail = (error: Error) => {
        drop(draft);
        reject(error); // TanStack tries again
      };
      drafts.get(query.queryHash)?.end();
      const draft = read(query, plan, loaded.cursor, { data: loaded.data, check, fail });
      drafts.set(query.queryHash, draft);
      context.signal.addEventListener("abort", () => drop(draft));
      check();
    });
  };

  const drop = (draft: Reader) => {
    if (!draft.draft) return; // it is in the cache
    draft.end();
    if (drafts.get(draft.query.queryHash) === draft) drafts.delete(draft.query.queryHash);
  };

  /** A fetch has written its result: its draft takes over, with what it has heard since. */
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
    // StrictMode and a change of page come back at once.
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
    // After `close()` nobody is subscribed any more.
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

/** Queries of `channelQuery` hold this, and nothing else may be written there. */
const positioned = ({ state }: QueryLike) => state.data as Positioned<unknown> | undefined;
