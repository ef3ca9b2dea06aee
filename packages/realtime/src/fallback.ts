/** The fallback: Server-Sent Events over `fetch`, where something between page and server does not let a WebSocket through. */
import { createStreams } from "./core/streams.js";

const WEBSOCKET_MS = 4_000;
const LOST = 1006;

/**
 * A socket that is a WebSocket if it can. If not, and the server answers at all, it is the events below the WebSocket's
 * address: a request that is repeated whenever there is something to say.
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
  /** There is something to say; a request is on its way. */
  #says = false;
  #asks = false;

  constructor(url: string) {
    this.#url = url;
    void this.#open();
  }

  send(data: string) {
    if (!this.#isStream) this.#socket?.send(data);
    else if (this.#streams.say(data)) {
      this.#says = true;
      queueMicrotask(() => this.#speak());
    }
  }

  close(code?: number) {
    this.#isClosed = true;
    this.#stream.abort();
    this.#socket?.close(code);
  }

  async #open() {
    if (await this.#isWebSocket()) return;
    const answer = await this.#request();
    // It answers now: then it may have been away a moment ago, WebSockets and all.
    if (answer && (await this.#isWebSocket())) this.#stream.abort();
    else if (!answer) this.#end(LOST);
    else if (!this.#isClosed) {
      this.#isStream = true;
      this.onopen?.();
      void this.#read(answer);
    }
  }

  /** Try a WebSocket, and be it if it opens. */
  #isWebSocket(): Promise<boolean> {
    return new Promise((resolve) => {
      if (this.#isClosed) return resolve(true);
      const socket = (this.#socket = new WebSocket(this.#url));
      const patience = setTimeout(() => socket.close(), WEBSOCKET_MS);
      socket.onclose = () => {
        clearTimeout(patience);
        resolve(false);
      };
      socket.onopen = () => {
        clearTimeout(patience);
        socket.onmessage = ({ data }: { readonly data: unknown }) => this.onmessage?.({ data });
        socket.onclose = ({ code }) => this.#end(code);
        resolve(true);
        this.onopen?.();
      };
    });
  }

  /** Begin a stream; nothing if there is no answer, or one that is none. */
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

  /** Say what there is to say, once the last request has been answered. */
  #speak() {
    if (!this.#says || this.#asks || this.#isClosed || !this.#streams.rests()) return;
    this.#says = false;
    this.#asks = true;
    void this.#request().then((answer) => {
      this.#asks = false;
      if (answer) void this.#read(answer);
      else this.#end(LOST);
    });
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    const { signal } = this.#stream;
    let rest = "";
    try {
      this.#speak();
      for (const reader = stream.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
        const { value, done } = await reader.read();
        if (done) break;
        const events = (rest + value).split("\n\n");
        rest = events.pop() ?? "";
        for (const event of events) if (!signal.aborted) this.#hear(event);
        this.#speak();
      }
    } catch {
      // it broke, or was aborted
    }
    if (!signal.aborted) this.#end(LOST);
  }

  #hear(event: string) {
    const data = /^data: (.*)$/m.exec(event)?.[1];
    if (data === undefined) return;
    if (event.startsWith("event: close")) this.#end((JSON.parse(data) as { readonly code: number }).code);
    else for (const message of this.#streams.hear(data)) if (!this.#isClosed) this.onmessage?.({ data: message });
  }

  #end(code: number) {
    if (this.#isClosed) return;
    this.close();
    this.onclose?.({ code });
  }
}
