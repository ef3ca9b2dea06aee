/** The fallback: Server-Sent Events over `fetch`, where a proxy between page and server blocks WebSockets. */
import { createStreams } from "./core/streams.js";

/** A request that brings nothing for this long has failed. */
const STREAM_MS = 5_000;
/** Once a stream works, a WebSocket that failed earlier has this long to open: the server may have been down. */
const AGAIN_MS = 1_000;
const LOST = 1006;

/**
 * A socket that uses the WebSocket or the stream whose first message arrives first. A stream is a request to `/events`
 * below the WebSocket's address: one request at a time, repeated for each frame to send.
 */
export class FallbackSocket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  onclose: ((event: { readonly code: number }) => void) | null = null;
  onerror: ((event: { readonly message: string }) => void) | null = null;
  isStream = false;
  readonly #url: string;
  /** Where session storage has that a stream was needed. */
  readonly #key: string;
  readonly #streams = createStreams();
  #socket: WebSocket | undefined;
  #stream = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;
  /** Whether the WebSocket has delivered a message, and whether it has failed before. */
  #isSocket = false;
  #isRefused = true;
  #isRetried = false;
  #decide: (() => void) | undefined;
  /** Whether the first stream was asked for, and whether it failed. */
  #hasBegun = false;
  #hasFailed = false;
  /** The code to end with if the stream fails: that of a refused token. */
  #code = LOST;
  /** Whether a frame waits to be sent, and whether a request is pending. */
  #hasFrames = false;
  #isRequesting = false;

  /** `socket`: one that is opening; a stream is asked for after `wait`, or once the socket has failed. */
  constructor(url: string, token: string | undefined, socket: WebSocket | undefined, wait: number, key: string) {
    this.#url = url;
    this.#key = key;
    if (token !== undefined) this.#streams.send(JSON.stringify({ auth: token }));
    if (socket) this.#try(socket);
    this.#timer = setTimeout(() => void this.#begin(), wait);
  }

  send(data: string) {
    if (!this.isStream) this.#socket?.send(data);
    else if (this.#streams.send(data)) {
      this.#hasFrames = true;
      queueMicrotask(() => this.#flush());
    }
  }

  close(code?: number) {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#stream.abort();
    this.#leaveSocket(code);
    this.#decide?.();
  }

  /** Use a WebSocket if its first message arrives before that of a stream. */
  #try(socket: WebSocket) {
    this.#socket = socket;
    this.#isRefused = false;
    socket.onopen = null;
    socket.onmessage = ({ data }: { readonly data: unknown }) => {
      if (!this.#isSocket) {
        this.#isSocket = true;
        clearTimeout(this.#timer);
        this.#stream.abort();
        this.#decide?.();
        this.#remember(false);
        this.onopen?.();
      }
      this.onmessage?.({ data });
    };
    socket.onclose = ({ code }) => {
      this.#isRefused = true;
      this.#decide?.();
      if (this.#isSocket || this.#hasFailed) this.#end(code);
      else void this.#begin();
    };
  }

  async #begin() {
    if (this.#hasBegun || this.#isSocket || this.#isClosed) return;
    this.#hasBegun = true;
    const body = await this.#request();
    if (body) void this.#read(body);
    else this.#fail();
  }

  /** The stream failed: while it is the first one, the WebSocket may still open. */
  #fail() {
    if (this.#isSocket) return;
    this.#hasFailed = true;
    if (this.isStream || this.#isRefused) this.#end(this.#code);
  }

  /** A stream works: use it, unless a WebSocket opens that failed earlier. */
  async #useStream(): Promise<boolean> {
    if (this.#isRefused && !this.#isRetried && typeof WebSocket !== "undefined") {
      this.#isRetried = true;
      this.#try(new WebSocket(this.#url));
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, AGAIN_MS);
        this.#decide = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    if (this.#isSocket || this.#isClosed) return false;
    this.#leaveSocket();
    this.isStream = true;
    this.#remember(true);
    this.onopen?.();
    return true;
  }

  #leaveSocket(code?: number) {
    if (this.#socket) this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket?.close(code);
  }

  /** The next page of this session asks for a stream sooner. */
  #remember(needsStreams: boolean) {
    try {
      if (needsStreams) sessionStorage.setItem(this.#key, "");
      else sessionStorage.removeItem(this.#key);
    } catch {
      // no storage here
    }
  }

  /** Begin a stream; undefined without a successful response. */
  async #request(): Promise<ReadableStream<Uint8Array<ArrayBuffer>> | undefined> {
    this.#stream.abort();
    const stream = (this.#stream = new AbortController());
    clearTimeout(this.#timer);
    let isAnswered = false;
    this.#timer = setTimeout(() => {
      stream.abort();
      if (isAnswered) this.onerror?.({ message: "a proxy holds back the event stream: turn off buffering and compression of text/event-stream" });
      this.#fail();
    }, STREAM_MS);
    const url = new URL(this.#url.replace(/^ws/, "http"));
    url.pathname = url.pathname.replace(/\/?$/, "/events");
    try {
      const response = await fetch(url, { method: "POST", body: this.#streams.begin(), signal: stream.signal });
      isAnswered = response.ok;
      if (response.status === 401) {
        const { code } = (await response.json()) as { readonly code?: unknown };
        if (code === 4401 || code === 4500 || code === 4501) this.#code = code; // without one it is a proxy's
      }
      return response.ok ? (response.body ?? undefined) : undefined;
    } catch {
      return undefined;
    }
  }

  /** Begin a new stream for waiting frames, once the last request is answered. */
  #flush() {
    if (!this.#hasFrames || this.#isRequesting || this.#isClosed || !this.#streams.isResumed()) return;
    this.#hasFrames = false;
    this.#isRequesting = true;
    void this.#request().then((body) => {
      this.#isRequesting = false;
      if (body) void this.#read(body);
      else this.#fail();
    });
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    const { signal } = this.#stream;
    let rest = "";
    try {
      this.#flush();
      for (const reader = stream.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
        const { value, done } = await reader.read();
        if (done) break;
        const events = (rest + value).split("\n\n");
        rest = events.pop() ?? "";
        for (const event of events) if (!signal.aborted) await this.#receive(event);
        this.#flush();
      }
    } catch {
      // the stream broke, or was aborted
    }
    if (!signal.aborted) this.#fail();
  }

  async #receive(event: string) {
    const data = /^data: (.*)$/m.exec(event)?.[1];
    if (data === undefined) return;
    clearTimeout(this.#timer);
    if (!this.isStream && !(await this.#useStream())) return;
    if (event.startsWith("event: close")) this.#end((JSON.parse(data) as { readonly code: number }).code);
    else for (const message of this.#streams.receive(data)) if (!this.#isClosed) this.onmessage?.({ data: message });
  }

  #end(code: number) {
    if (this.#isClosed) return;
    this.close();
    this.onclose?.({ code });
  }
}
