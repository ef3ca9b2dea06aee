/** Dialing: open a WebSocket, and ask for a stream beside it where no message arrives in time. */
import type { FallbackSocket } from "./fallback.js";

/** The part of a WebSocket that the client uses. */
export type WebSocketLike = {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string): void;
  close(code?: number): void;
};

export type Listeners = {
  readonly opened: () => void;
  readonly received: (message: { readonly data: unknown }) => void;
  readonly closed: (code: number, reason?: string) => void;
  readonly reported: (message: string) => void;
};

export type Dialed = { readonly send: (data: string) => void; readonly close: (code: number) => void };

/** The globals of a page, a worker or Node, each of which may be missing. */
export const page: Partial<
  Pick<typeof globalThis, "addEventListener" | "removeEventListener" | "document" | "location" | "origin" | "reportError" | "WebSocket">
> = globalThis;

/** Without a message for this long, a stream is asked for too. */
const SLOW_MS = 1_500;
/** Where an earlier page of this session needed a stream. */
const SLOW_AGAIN_MS = 300;
/** Without an answer for this long, the client's frames do not pass. A server without the token closes after 5 s. */
const ANSWER_MS = 4_500;
const CLOSED = 3; // the state of a WebSocket
const LOST = 1006;

/** Storage may be missing, or refuse every access. */
const stored = (key: string) => {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
};

export const createDial = (Socket?: new (url: string) => WebSocketLike) => {
  let isReported = false;
  let failures = 0; // WebSockets in a row that ended before a message
  let isDeaf: boolean | undefined; // a WebSocket brings the server's frames, and takes none of ours

  /** Success is a message: a proxy may pass the handshake and nothing else. A filter may pass what one side sends. */
  return (url: string, token: string | undefined, { opened, received, closed, reported }: Listeners): Dialed => {
    const key = `flowcraft streams ${url}`;
    let isDone = false;
    let loading: Promise<void> | undefined; // the fallback
    let stream: FallbackSocket | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let asking: ReturnType<typeof setTimeout> | undefined; // after the first request
    let isAnswered = false;
    let socket: WebSocketLike | undefined;
    isDeaf ??= !!stored(key);

    const attach = (next: WebSocketLike) => {
      socket = next;
      next.onopen = opened;
      next.onmessage = (event: { readonly data: unknown }) => {
        if (!isDone && !stream?.isStream) failures = 0;
        isDone = true;
        clearTimeout(timer);
        isAnswered = !/^{"([hb]|cu)/.test(event.data as string); // `hello`, `bye` and `cursor` come unasked
        if (isAnswered) {
          clearTimeout(asking);
          next.onmessage = received; // nothing is left to decide
        }
        received(event);
      };
      next.onclose = ({ code, reason }: { readonly code: number; readonly reason?: string }) => {
        const last = () => socket === next && end(code, reason);
        if (loading) void loading.then(last);
        else last();
      };
      // After an error of a WebSocket `close` follows, with the code; in Node 20, not if it had not opened.
      next.onerror = ({ message }: { readonly message?: string }) => {
        // Not of a WebSocket beside the stream, whose error may come later: in WebKit.
        if (next === stream && message !== undefined && !isReported) {
          isReported = true;
          reported(message);
        }
        if (!isDone && !stream) setTimeout(() => next.onclose?.({ code: LOST } as never));
      };
    };

    const leave = (code: number) => {
      clearTimeout(timer);
      clearTimeout(asking);
      const last = socket;
      socket = undefined;
      if (!last) return;
      last.onopen = last.onmessage = last.onclose = null;
      last.close(code);
    };

    const end = (code: number, reason?: string) => {
      socket = undefined;
      leave(code);
      if (!isDone) failures++;
      isDeaf &&= isDone;
      closed(code, reason);
    };

    /** The next attempt is a stream, without a WebSocket beside it. */
    const turnDeaf = () => {
      leave(1000);
      isDeaf = true;
      closed(LOST);
    };

    const fallBack = async (wait: number) => {
      const module = await import("./fallback.js").catch(() => undefined);
      if (isDone) return;
      const first = socket as WebSocket | undefined; // ours is the native one
      if (module) attach((stream = module.createFallback(url, token, first?.readyState === CLOSED ? undefined : first, wait, key, isDeaf)));
      else if (!first) end(0);
    };

    const Native = page.WebSocket;
    if (Socket) attach(new Socket(url));
    else {
      const isBlocked = !Native || isDeaf || failures > 1 || stored(key) !== null;
      if (Native && !isDeaf) attach(new Native(url));
      // Loaded on demand: most pages never need its 2 KB.
      const load = (wait: number) => void (loading = fallBack(wait));
      if (isBlocked) load(socket ? SLOW_AGAIN_MS : 0);
      else timer = setTimeout(load, SLOW_MS, 0);
    }

    return {
      send: (data) => {
        // A transaction may take its time, and nothing answers `unsubscribe`.
        if (isDone && !isAnswered && !Socket && !stream && /^{"[as]u/.test(data)) asking ??= setTimeout(turnDeaf, ANSWER_MS);
        socket?.send(data);
      },
      close: (code) => {
        isDone = true;
        leave(code);
      },
    };
  };
};

/** The WebSocket's address. A worker made from a blob, or a frame with `srcdoc`, has its page's origin, but no address of its own. */
export const address = (url: string | URL = "/realtime") => {
  let text = String(url);
  if (!/^\w+:/.test(text)) {
    const base = [page.location?.href, page.origin].find((one) => /^https?:/.test(one ?? ""));
    if (base) text = new URL(text, base).href;
  }
  if (!/^(ws|http)s?:/i.test(text)) throw new TypeError(`${text} is no address of a WebSocket: createClient({ url: "wss://…" })`);
  return text.replace(/^http/i, "ws");
};
