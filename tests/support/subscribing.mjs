/**
 * The real client. It subscribes to the channels of its arguments, each after a cursor of its own if one is given, and
 * prints a line of JSON when all of them are fresh. With `streams` no WebSocket opens.
 */
import { createClient } from "../../packages/realtime/dist/index.js";
import { createFallback } from "../../packages/realtime/dist/fallback.js";

const [url, how, channels] = [process.argv[2], process.argv[3], JSON.parse(process.argv[4])];

class Refused {
  constructor() {
    void Promise.resolve().then(() => this.onclose?.({ code: 1006 }));
  }
  close() {}
}

class Streams {
  constructor(address) {
    return createFallback(address, undefined, undefined, 0, "streams");
  }
}

if (how === "streams") globalThis.WebSocket = Refused;
const client = createClient({ url, token: () => "t", ...(how === "streams" && { WebSocket: Streams }) });
const stale = new Set(channels.map(({ name }) => name));
for (const { name, since } of channels)
  client.subscribe(name, () => undefined, {
    since,
    onFresh: (fresh) => {
      if (fresh && stale.delete(name) && stale.size === 0) {
        const { status, attempts, code } = client.connection.get();
        console.log(JSON.stringify({ status, attempts, code: code ?? null }));
        client.close();
      }
    },
    onReset: (error) => console.log(JSON.stringify({ reset: error.code, name })),
    onError: (error) => console.log(JSON.stringify({ error: error.code, name })),
  });
