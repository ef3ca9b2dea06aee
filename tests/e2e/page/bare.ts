/** A page with a client and nothing else: a test makes it here, and reads what it reported. */
import { type Client, createClient } from "../../../packages/realtime/src/index.js";

/** A JWT to sign, that begins and ends so many seconds from now; or a token as it is. */
export type Signed = { readonly seconds: number; readonly begins?: number; readonly secret?: string };
type Token = Signed | string | null;

const SECRET = "a secret of thirty-two characters";
const base64 = (bytes: Uint8Array) => btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const utf8 = (text: string) => new TextEncoder().encode(text);

const sign = async ({ seconds, begins = 0, secret = SECRET }: Signed) => {
  const now = Math.floor(Date.now() / 1000);
  const parts = [{ alg: "HS256", typ: "JWT" }, { sub: "ada", iat: now, nbf: now + begins, exp: now + seconds }];
  const text = parts.map((part) => base64(utf8(JSON.stringify(part)))).join(".");
  const key = await crypto.subtle.importKey("raw", utf8(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return `${text}.${base64(new Uint8Array(await crypto.subtle.sign("HMAC", key, utf8(text))))}`;
};

let client: Client;
let sockets = 0;
let calls = 0;
let settled = 0;
const reports: string[] = [];
/** By subscription: "live", the code of an error, or "". */
const news: Record<string, string> = {};
const stops = new Map<string, () => void>();

globalThis.WebSocket = class extends WebSocket {
  constructor(url: string | URL) {
    super(url);
    sockets++;
  }
};

const bare = {
  /** The function for tokens returns each of them once, and the last one again and again. */
  connect(url: string, tokens: readonly Token[] | null) {
    const token = async () => {
      const next = tokens?.[Math.min(calls++, tokens.length - 1)];
      return typeof next === "object" && next ? sign(next) : next;
    };
    client = createClient({ url, onError: (error) => reports.push(String(error)), ...(tokens && { token }) });
  },

  subscribe(channel: unknown, key = String(channel)) {
    const note = (what: string) => void (news[key] = what);
    note("");
    const onFresh = (fresh: boolean) => note(fresh ? "live" : "");
    stops.set(key, client.subscribe(channel as string, () => undefined, { onError: ({ code }) => note(code), onFresh }));
  },

  leave(key: string) {
    stops.get(key)?.();
    news[key] = "left";
  },

  settle(first: number, count: number) {
    for (let xid = first; xid < first + count; xid++) void client.settled(xid).then(() => settled++);
  },

  seen: () => ({ ...client.connection.get(), sockets, calls, settled, reports, news }),
};

declare global {
  interface Window {
    bare: typeof bare;
  }
}

window.bare = bare;
