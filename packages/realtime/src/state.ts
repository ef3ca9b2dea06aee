/** Channel state: data that is loaded once and updated by a channel's events; rendered at most once per frame. */
import type { Client } from "./options.js";
import type { Cursor } from "./core/frames.js";
import { retryDelay } from "./core/retry.js";
import type { ChannelName, Gone, Payload } from "./types.js";

export type Snapshot<S> = {
  readonly data: S;
  /** Whether `data` is known to include everything committed. */
  readonly fresh: boolean;
  /** The reason if not: loading or reducing failed (and is retried), or the channel was refused. */
  readonly error: unknown;
  readonly loading: boolean;
};

export type ChannelStateOptions<C extends ChannelName, S> = {
  /** Load the state and the cursor of the same snapshot. */
  readonly load: () => Promise<{ readonly data: S; readonly cursor: Cursor }>;
  /** Apply one event; pure. */
  readonly reduce: (data: S, payload: Payload<C>) => S;
  /** Remove the row that left the channel; pure. Without it, the state is loaded again. */
  readonly gone?: (data: S, key: Gone<C>) => S;
};

/** A store for any framework: `subscribe` is Svelte's contract, `subscribe` and `get` are `useSyncExternalStore`'s. */
export type ChannelStore<S> = {
  /** Calls `run` now and after each change; returns the function that unsubscribes. The store loads and subscribes to the channel only while it has subscribers. */
  readonly subscribe: (run: (snapshot: Snapshot<S>) => void) => () => void;
  readonly get: () => Snapshot<S>;
  /** Load again; the present data stays until then. */
  readonly reload: () => void;
};

const dirty = new Set<() => void>();
let waiting = false;

/**
 * Notify listeners after the current group, then at most once per frame. All states share the frame: two states that
 * one transaction changed are always rendered together.
 */
export const schedule = (publish: () => void) => {
  dirty.add(publish);
  if (waiting) return;
  waiting = true;
  queueMicrotask(flush);
};

/** Tests call this directly, without a frame. */
export const flush = () => {
  waiting = dirty.size > 0;
  if (!waiting) return;
  for (const publish of dirty) publish();
  dirty.clear();
  nextFrame(flush);
};

/** Missing outside a page. */
const frames: Partial<Pick<typeof globalThis, "requestAnimationFrame" | "cancelAnimationFrame">> = globalThis;

/** With a timer beside the frame: a page in the background has no frames, but its title may show the state. */
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
  /** Changed by every event; what is shown is a copy, made at most once per frame. */
  const next: { -readonly [K in keyof State]: State[K] } = { ...blank, loading: channel !== null };
  let shown: State = { ...next };
  let live = false; // the subscription is up to date
  let whole = false; // no event was missed since the data was loaded
  let turn = {};
  let failures = 0;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let unsubscribe: (() => void) | undefined;
  let forget: () => void;

  const publish = () => {
    shown = { ...next };
    for (const listener of listeners) listener();
  };

  const set = (change: Partial<State>) => {
    Object.assign(next, change, { fresh: live && whole });
    schedule(publish);
  };

  const fail = (error: unknown) => {
    set({ error, loading: false });
    spoil();
  };

  /** The data misses something: load it again, after a pause, because other pages do the same now. */
  const spoil = () => {
    whole = false;
    set({});
    clearTimeout(retry);
    retry = setTimeout(() => void reload(), retryDelay(Math.random, failures++));
  };

  const reload = async () => {
    if (channel === null || !listeners.size) return;
    const mine = (turn = {});
    clearTimeout(retry);
    set({ loading: true });
    try {
      const loaded = await options.load();
      if (mine !== turn) return;
      unsubscribe?.();
      whole = true;
      live = false;
      set({ data: loaded.data, loading: false, error: undefined });
      const apply = <V,>(change: (data: S, value: V) => S, value: V) => {
        try {
          next.data = change(next.data as S, value);
        } catch (error) {
          fail(error);
          throw error;
        }
      };
      const { gone } = options;
      unsubscribe = client.subscribe(channel, (payload) => apply(options.reduce, payload), {
        since: loaded.cursor,
        onReset,
        onError,
        onFresh,
        onGone: gone ? (key) => apply(gone, key) : spoil,
        onSkipped: spoil,
        onGroup: () => {
          if (whole) failures = 0;
          set({});
        },
      });
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

  /** The first listener has subscribed. */
  const start = () => {
    forget = client.connection.subscribe(() => {
      const { status, code } = client.connection.get();
      if (status !== "stopped" || code !== undefined) return;
      pause();
      set(blank);
    });
    // Not for a listener that unsubscribes at once: Svelte's `get`, or the first of StrictMode's two mounts.
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
