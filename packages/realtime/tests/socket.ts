/** A WebSocket whose other end is in the test's hands, and the frames that were sent through it. */
import { afterEach, beforeEach, vi } from "vitest";
import { createClient } from "../src/client.js";
import type { Client, ClientOptions } from "../src/options.js";
import { hello, subscribed } from "./server.js";

type Sent = { readonly subscribe?: readonly string[]; readonly ref?: number };

export class FakeSocket {
  static opened: FakeSocket[] = [];
  static get last(): FakeSocket {
    const socket = FakeSocket.opened.at(-1);
    if (!socket) throw new Error("no socket was opened");
    return socket;
  }

  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onerror: ((event: { readonly message?: string }) => void) | null = null;
  readonly url: string;
  readonly sent: unknown[] = [];
  closed: number | undefined;
  answered = 0;

  constructor(url: string) {
    this.url = url;
    FakeSocket.opened.push(this);
  }

  send(data: string) {
    this.sent.push(JSON.parse(data));
  }

  close(code: number) {
    this.closed = code;
  }

  open(...frames: readonly unknown[]): this {
    this.onopen?.();
    return this.says(hello(), ...frames);
  }

  says(...frames: readonly unknown[]): this {
    for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) });
    return this;
  }

  /** Answer every subscription that was asked for since the last time, without a replay. */
  answer(cursor = "c0"): this {
    for (const frame of this.sent.slice(this.answered) as Sent[])
      if (frame.subscribe) this.says(subscribed(frame.ref ?? 0, cursor, 0, [...frame.subscribe]));
    this.answered = this.sent.length;
    return this;
  }

  lose(code = 1006) {
    this.onclose?.({ code });
  }
}

export const clientOn = (options: ClientOptions = {}): Client => {
  FakeSocket.opened = [];
  return createClient({ url: "wss://flowcraft.example/realtime", WebSocket: FakeSocket, ...options });
};

/** In each test of a file time is faked and no socket is open; afterwards its client is closed. */
export const fakeTime = (client: () => Client | undefined): void => {
  beforeEach(() => {
    vi.useFakeTimers();
    FakeSocket.opened = [];
  });
  afterEach(() => {
    client()?.close();
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });
};

/** Let promises and microtasks run. */
export const settle = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};
