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
  readonly received: (data: unknown) => void;
  readonly closed: (code: number) => void;
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

/** Storage may be missing, or refuse every access. */
const isStored = (key: string) => {
  try {
    return sessionStorage.getItem(key) !== null;
  } catch {
    return false;
  }
};

export const createDial = (Socket?: new (url: string) => WebSocketLike) => {
  let isReported = false;
  let failures = 0; // WebSockets in a row that ended before a message

  /** Success is a message: a proxy may pass the handshake and nothing else. */
  return (url: string, token: string | undefined, { opened, received, closed, reported }: Listeners): Dialed => {
    const key = `flowcraft streams ${url}`;
    let isDone = false;
    let isLoading = false;
    let ended: number | undefined; // while the fallback loads
    let stream: FallbackSocket | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let socket: WebSocketLike | undefined;

    const attach = (next: WebSocketLike) => {
      socket = next;
      next.onopen = opened;
      next.onmessage = ({ data }: { readonly data: unknown }) => {
        if (!isDone && !stream?.isStream) failures = 0;
        isDone = true;
        clearTimeout(timer);
        received(data);
      };
      next.onclose = ({ code }: { readonly code: number }) => {
        if (isLoading) ended = code;
        else end(code);
      };
      // After an error of a WebSocket `close` follows, with the code.
      next.onerror = ({ message }: { readonly message?: string }) => {
        if (stream && message !== undefined && !isReported) reported(message);
        isReported ||= stream !== undefined;
      };
    };

    const end = (code: number) => {
      clearTimeout(timer);
      if (!isDone) failures++;
      closed(code);
    };

    const fallBack = async (wait: number) => {
      isLoading = true;
      const module = await import("./fallback.js").catch(() => undefined);
      isLoading = false;
      if (isDone) {
        if (ended !== undefined) end(ended);
      } else if (module) {
        const first = ended === undefined ? (socket as WebSocket | undefined) : undefined; // ours is the native one
        attach((stream = new module.FallbackSocket(url, token, first, wait, key)));
      } else if (ended !== undefined || !socket) end(ended ?? 0);
    };

    const Native = page.WebSocket;
    if (Socket) attach(new Socket(url));
    else {
      const isBlocked = !Native || failures > 1 || isStored(key);
      if (Native) attach(new Native(url));
      // Loaded on demand: most pages never need its 2 KB.
      if (isBlocked) void fallBack(Native ? SLOW_AGAIN_MS : 0);
      else timer = setTimeout(() => void fallBack(0), SLOW_MS);
    }

    return {
      send: (data) => socket?.send(data),
      close: (code) => {
        clearTimeout(timer);
        isDone = true;
        ended = undefined;
        if (!socket) return;
        socket.onopen = socket.onmessage = socket.onclose = null;
        socket.close(code);
      },
    };
  };
};
