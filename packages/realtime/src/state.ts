/** Channel state: data that was loaded once and is kept true by a channel's events; published once a frame at most. */
import type { Client } from "./client.js";
import type { Cursor } from "./core/frames.js";
import { retryDelay } from "./core/retry.js";
import type { ChannelName, Payload } from "./types.js";

export type Snapshot<S> = {
  readonly data: S;
  /** `data` is known to hold everything that was committed. */
  readonly fresh: boolean;
  /** Why it does not: loading or reducing failed (and is tried again), or the channel was refused. */
  readonly error: unknown;
  readonly loading: boolean;
};

export type ChannelStateOptions<C extends ChannelName, S> = {
  /** Read the state and the cursor it was read at, together. */
  readonly load: () => Promise<{ readonly data: S; readonly cursor: Cursor }>;
  /** Apply one event; pure. */
  readonly reduce: (data: S, payload: Payload<C>) => S;
};

/** What any framework can read: `subscribe` is Svelte's contract, `subscribe` and `get` are `useSyncExternalStore`'s. */
export type ChannelStore<S> = {
  /** Calls `run` at once and after each change; returns the function that ends it. Only while somebody subscribes it loads and follows. */
  readonly subscribe: (run: (snapshot: Snapshot<S>) => void) => () => void;
  readonly get: () => Snapshot<S>;
  /** Load again; what is shown stays until then. */
  readonly reload: () => void;
};

const dirty = new Set<() => void>();
let waiting = false;

/**
 * Publish when the group is done, then at most once a frame. All states share the frame: two of them that one
 * transaction has changed are never rendered apart.
 */
const schedule = (publish: () => void) => {
  dirty.add(publish);
  if (waiting) return;
  waiting = true;
  queueMicrotask(flush);
};

/** Also called before the frame, by tests, which have none to wait for. */
export const flush = () => {
  waiting = dirty.size > 0;
  if (!waiting) return;
  for (const publish of dirty) publish();
  dirty.clear();
  nextFrame(flush);
};

/** Absent outside a page. */
const frames: Partial<Pick<typeof globalThis, "requestAnimationFrame" | "cancelAnimationFrame">> = globalThis;

/** A page in the background has no frames, but a title to keep true. */
const nextFrame = (f: () => void) => {
  const done = () => {
    clearTimeout(timer);
    if (frame) frames.cancelAnimationFrame?.(frame);
    f();
  };
  const timer = setTimeout(done, 100);
  const frame = frames.requestAnimationFrame?.(done);
};

export function channelStore<C extends ChannelName, S>(
  client: Client,
  channel: C | null,
  options: ChannelStateOptions<C, S> & { readonly initial: S },
): ChannelStore<S>;
export function channelStore<C extends ChannelName, S>(
  client: Client,
  channel: C | null,
  options: ChannelStateOptions<C, S> & { readonly initial?: S },
): ChannelStore<S | undefined>;
export function channelStore<C extends ChannelName, S>(
  client: Client,
  channel: C | null,
  options: ChannelStateOptions<C, S> & { readonly initial?: S },
): ChannelStore<S | undefined> {
  type State = Snapshot<S | undefined>;
  const listeners = new Set<() => void>();
  const blank: State = { data: options.initial, fresh: false, error: undefined, loading: false };
  let next: State = { ...blank, loading: channel !== null };
  let shown = next;
  let live = false; // the subscription has everything
  let whole = false; // nothing was missed since the data was loaded
  let turn = {};
  let failures = 0;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let unsubscribe: (() => void) | undefined;
  let forget: () => void;

  const publish = () => {
    shown = next;
    for (const listener of listeners) listener();
  };

  const set = (change: Partial<State>) => {
    next = { ...next, ...change, fresh: live && whole };
    schedule(publish);
  };

  const fail = (error: unknown) => {
    whole = false;
    set({ error, loading: false });
    clearTimeout(retry);
    retry = setTimeout(reload, retryDelay(Math.random, failures++));
  };

  const reload = async () => {
    if (channel === null || !listeners.size) return;
    const mine = (turn = {});
    clearTimeout(retry);
    set({ loading: true });
    try {
      const loaded = await options.load();
      if (mine !== turn) return;
      let { data } = loaded;
      unsubscribe?.();
      whole = true;
      live = false;
      set({ data, loading: false, error: undefined });
      const receive = (payload: Payload<C>) => {
        try {
          data = options.reduce(data, payload);
        } catch (error) {
          fail(error);
          throw error;
        }
        failures = 0;
        set({ data });
      };
      unsubscribe = client.subscribe(channel, receive, { since: loaded.cursor, onReset, onError, onFresh });
    } catch (error) {
      if (mine === turn) fail(error);
    }
  };

  const onReset = () => {
    whole = false;
    void reload();
  };
  const onError = (error: unknown) => set({ error });
  const onFresh = (fresh: boolean) => {
    live = fresh;
    set(fresh && whole ? { error: undefined } : {});
  };

  /** The first has come. */
  const start = () => {
    forget = client.connection.subscribe(() => {
      const { status, code } = client.connection.get();
      if (status !== "stopped" || code !== undefined) return;
      pause();
      set(blank);
    });
    // Not for somebody who only looks in: Svelte's `get`, or the first of StrictMode's two mounts.
    const mine = turn;
    queueMicrotask(() => mine === turn && void reload());
  };

  const pause = () => {
    turn = {};
    clearTimeout(retry);
    unsubscribe?.();
    live = false;
  };

  return {
    get: () => shown,
    subscribe: (run) => {
      const listener = () => run(shown);
      if (!listeners.size) start();
      listeners.add(listener);
      run(shown);
      return () => {
        listeners.delete(listener);
        if (listeners.size) return;
        forget();
        pause();
        set({});
      };
    },
    reload: () => void reload(),
  };
}
