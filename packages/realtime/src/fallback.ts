/** The fallback: Server-Sent Events over `fetch`, where a proxy between page and server blocks WebSockets. */
import { createStreams } from "./core/streams.js";

/** A request that brings nothing for this long has failed. */
const STREAM_MS = 5_000;
/** Once a stream works, a WebSocket that failed earlier has this long to open: the server may have been down. */
const AGAIN_MS = 1_000;
const LOST = 1006;
/** Closing for a refused token. */
const REFUSED = [4401, 4500, 4501];
type Closing = { readonly code: number; readonly reason?: string };

export type FallbackSocket = {
  onopen: (() => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: ((event: Closing) => void) | null;
  onerror: ((event: { readonly message: string }) => void) | null;
  isStream: boolean;
  send(data: string): void;
  close(code?: number): void;
};

/**
 * A socket that uses the WebSocket or the stream whose first message arrives first. A stream is a request to `/events`
 * below the WebSocket's address: one request at a time, repeated for each frame to send.
 *
 * `socket`: one that is opening; a stream is asked for after `wait`, or once the socket has failed. `key`: where session
 * storage has that a stream was needed. `isDeaf`: a WebSocket would open, and take no frame of ours.
 */
export const createFallback = (
  url: string,
  token: string | undefined,
  socket: WebSocket | undefined,
  wait: number,
  key: string,
  isDeaf = false,
) => {
  const streams = createStreams();
  const events = url.replace(/^ws(.*?)\/?(\?|$)/i, "http$1/events$2");
  let stream = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isClosed = false;
  /** Whether the WebSocket has delivered a message, and whether it has failed before. */
  let isSocket = false;
  let isRefused = true;
  let isRetried = isDeaf;
  let decide: (() => void) | undefined;
  /** Whether the first stream was asked for, and whether it failed. */
  let hasBegun = false;
  let hasFailed = false;
  /** How to end if the stream fails. */
  let closing: Closing = { code: LOST };
  /** Whether a frame waits to be sent, and whether a request is pending. */
  let hasFrames = false;
  let isRequesting = false;

  const face: FallbackSocket = {
    onopen: null,
    onmessage: null,
    onclose: null,
    onerror: null,
    isStream: false,
    send(data) {
      if (!face.isStream) socket?.send(data);
      else if (streams.send(data)) {
        hasFrames = true;
        queueMicrotask(flush);
      }
    },
    close(code) {
      isClosed = true;
      clearTimeout(timer);
      stream.abort();
      leaveSocket(code);
      decide?.();
    },
  };

  /** Use a WebSocket if its first message arrives before that of a stream. */
  const race = (next: WebSocket) => {
    socket = next;
    isRefused = false;
    next.onopen = null;
    next.onmessage = ({ data }: { readonly data: unknown }) => {
      if (!isSocket) {
        isSocket = true;
        clearTimeout(timer);
        stream.abort();
        decide?.();
        remember(false);
        face.onopen?.();
      }
      face.onmessage?.({ data });
    };
    next.onclose = ({ code, reason }) => {
      isRefused = true;
      decide?.();
      if (isSocket || hasFailed) end({ code, reason });
      else begin();
    };
  };

  const begin = () => {
    if (hasBegun || isSocket || isClosed) return;
    hasBegun = true;
    void open();
  };

  const open = async () => {
    const body = await request();
    isRequesting = false;
    if (body) void read(body);
    else fail();
  };

  /** The stream failed: while it is the first one, the WebSocket may still open. */
  const fail = () => {
    if (isSocket) return;
    hasFailed = true;
    if (face.isStream || isRefused) end(closing);
  };

  /** A stream works: use it, unless a WebSocket opens that failed earlier. */
  const chooseStream = async (): Promise<boolean> => {
    if (isRefused && !isRetried && typeof WebSocket !== "undefined") {
      isRetried = true;
      race(new WebSocket(url));
      await new Promise<void>((resolve) => {
        setTimeout(resolve, AGAIN_MS);
        decide = resolve;
      });
    }
    if (isSocket || isClosed) return false;
    leaveSocket();
    face.isStream = true;
    remember(true);
    face.onopen?.();
    return true;
  };

  const leaveSocket = (code?: number) => {
    if (socket) socket.onmessage = socket.onclose = null;
    socket?.close(code);
  };

  /** The next page of this session asks for a stream sooner. */
  const remember = (needsStreams: boolean) => {
    try {
      if (needsStreams) sessionStorage.setItem(key, isDeaf ? "deaf" : "");
      else sessionStorage.removeItem(key);
    } catch {
      // no storage here
    }
  };

  /** A stream has brought nothing. If another request is answered at once, a proxy waits for the stream's end. */
  const findHeld = async () => {
    const soon = Date.now() + AGAIN_MS;
    try {
      const response = await fetch(events);
      if (response.status < 500 && Date.now() < soon)
        face.onerror?.({ message: "a proxy holds back the event stream: turn off buffering and compression" });
    } catch {
      // the server cannot be reached
    }
  };

  /** Begin a stream; nothing without a successful response. */
  const request = async (): Promise<ReadableStream<Uint8Array<ArrayBuffer>> | null> => {
    stream.abort();
    const mine = (stream = new AbortController());
    clearTimeout(timer);
    timer = setTimeout(() => {
      mine.abort();
      if (!hasFailed) void findHeld();
      fail();
    }, STREAM_MS);
    try {
      const response = await fetch(events, { method: "POST", body: streams.begin(), signal: mine.signal });
      if (response.status === 401) {
        const answer = (await response.json()) as Closing;
        if (REFUSED.includes(answer.code)) closing = answer; // without a code it is a proxy's
      }
      return response.ok ? response.body : null;
    } catch {
      return null;
    }
  };

  /** Begin a new stream for waiting frames, once the last request is answered. */
  const flush = () => {
    if (!hasFrames || isRequesting || isClosed || !streams.isResumed()) return;
    hasFrames = false;
    isRequesting = true;
    void open();
  };

  const read = async (body: ReadableStream<Uint8Array<ArrayBuffer>>) => {
    const { signal } = stream;
    let rest = "";
    try {
      flush();
      for (const reader = body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
        const { value, done } = await reader.read();
        if (done) break;
        const events = (rest + value).split("\n\n");
        rest = events.pop() ?? "";
        for (const event of events) if (!signal.aborted) await receive(event);
        flush();
      }
    } catch {
      // the stream broke, or was aborted
    }
    if (!signal.aborted) fail();
  };

  const receive = async (event: string) => {
    const data = /^data: (.*)$/m.exec(event)?.[1];
    if (data === undefined) return;
    clearTimeout(timer);
    if (!face.isStream && !(await chooseStream())) return;
    if (event.startsWith("event: close")) end(JSON.parse(data) as Closing);
    else for (const message of streams.receive(data)) if (!isClosed) face.onmessage?.({ data: message });
  };

  const end = (how: Closing) => {
    if (isClosed) return;
    face.close();
    face.onclose?.(how);
  };

  if (token !== undefined) streams.send(JSON.stringify({ auth: token }));
  if (socket) race(socket);
  timer = setTimeout(begin, wait);
  return face;
};
