/** The fallback: Server-Sent Events over `fetch`, where a proxy between page and server blocks WebSockets. */
import { createStreams } from "./core/streams.js";

const WEBSOCKET_MS = 4_000;
const LOST = 1006;

/**
 * A socket that uses a WebSocket if possible. Otherwise, if the server responds, it uses `/events` below the
 * WebSocket's address: one request at a time, repeated for each frame to send.
 */
export class FallbackSocket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  onclose: ((event: { readonly code: number }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly #url: string;
  readonly #streams = createStreams();
  #socket: WebSocket | undefined;
  #stream = new AbortController();
  #isStream = false;
  #isClosed = false;
  /** Whether a frame waits to be sent, and whether a request is pending. */
  #hasFrames = false;
  #isRequesting = false;

  constructor(url: string) {
    this.#url = url;
    void this.#open();
  }

  send(data: string) {
    if (!this.#isStream) this.#socket?.send(data);
    else if (this.#streams.send(data)) {
      this.#hasFrames = true;
      queueMicrotask(() => this.#flush());
    }
  }

  close(code?: number) {
    this.#isClosed = true;
    this.#stream.abort();
    this.#socket?.close(code);
  }

  async #open() {
    if (await this.#isWebSocket()) return;
    const body = await this.#request();
    // The server responds now, so it may have been down during the first attempt: try a WebSocket once more.
    if (body && (await this.#isWebSocket())) this.#stream.abort();
    else if (!body) this.#end(LOST);
    else if (!this.#isClosed) {
      this.#isStream = true;
      this.onopen?.();
      void this.#read(body);
    }
  }

  /** Try a WebSocket, and use it if it opens. */
  #isWebSocket(): Promise<boolean> {
    return new Promise((resolve) => {
      if (this.#isClosed) return resolve(true);
      const socket = (this.#socket = new WebSocket(this.#url));
      const timeout = setTimeout(() => socket.close(), WEBSOCKET_MS);
      socket.onclose = () => {
        clearTimeout(timeout);
        resolve(false);
      };
      socket.onopen = () => {
        clearTimeout(timeout);
        socket.onmessage = ({ data }: { readonly data: unknown }) => this.onmessage?.({ data });
        socket.onclose = ({ code }) => this.#end(code);
        resolve(true);
        this.onopen?.();
      };
    });
  }

  /** Begin a stream; undefined without a successful response. */
  async #request(): Promise<ReadableStream<Uint8Array<ArrayBuffer>> | undefined> {
    this.#stream.abort();
    const { signal } = (this.#stream = new AbortController());
    const url = new URL(this.#url.replace(/^ws/, "http"));
    url.pathname = url.pathname.replace(/\/?$/, "/events");
    try {
      const response = await fetch(url, { method: "POST", body: this.#streams.begin(), signal });
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
      else this.#end(LOST);
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
        for (const event of events) if (!signal.aborted) this.#receive(event);
        this.#flush();
      }
    } catch {
      // the stream broke, or was aborted
    }
    if (!signal.aborted) this.#end(LOST);
  }

  #receive(event: string) {
    const data = /^data: (.*)$/m.exec(event)?.[1];
    if (data === undefined) return;
    if (event.startsWith("event: close")) this.#end((JSON.parse(data) as { readonly code: number }).code);
    else for (const message of this.#streams.receive(data)) if (!this.#isClosed) this.onmessage?.({ data: message });
  }

  #end(code: number) {
    if (this.#isClosed) return;
    this.close();
    this.onclose?.({ code });
  }
}
