/** The page under test: it counts what React and the browser do, and hands it to the test as `window.seen`. */
import { createClient } from "@flowcraft/realtime";
import { RealtimeProvider, useChannel, useChannelState, useConnection, useWebSocket } from "@flowcraft/realtime/react";
import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

export type Item = { readonly item_id: number; readonly version: number };
export type Seen = {
  /** Every event of `item_update`, as its handler got it. */
  readonly events: Item[];
  /** The keys of the rows that were gone, and the reasons of skipped events, in their order. */
  readonly others: unknown[];
  /** What each of the ten components got. */
  readonly perComponent: number[];
  /** The rows, each time React committed another state of them. */
  readonly renders: string[];
  /** Milliseconds from the token, or the start of the page, to the first time that the connection was fresh. */
  liveAfter: number;
  /** What `onError` received. */
  readonly reports: string[];
  readonly sockets: { opened: number; open: number };
};

declare global {
  interface Window {
    seen: Seen;
  }
}

window.seen = { events: [], others: [], perComponent: Array<number>(10).fill(0), renders: [], liveAfter: 0, reports: [], sockets: { opened: 0, open: 0 } };

const asked = new URLSearchParams(location.search);
const url = asked.get("ws") ?? "";

class CountedWebSocket extends WebSocket {
  constructor(address: string) {
    super(address);
    const { sockets } = window.seen;
    sockets.opened++;
    sockets.open++;
    this.addEventListener("close", () => sockets.open--);
  }
}

const onError = (error: unknown) => window.seen.reports.push(String(error));
let began = performance.now();
const token = async () => {
  await new Promise((resolve) => setTimeout(resolve, Number(asked.get("token"))));
  began = performance.now();
  return undefined;
};
// A class of one's own is used as it is; without one there is a fallback.
const client = createClient(asked.has("fallback") ? { url, onError, ...(asked.has("token") && { token }) } : { url, onError, WebSocket: CountedWebSocket });

client.connection.subscribe(() => {
  if (client.connection.get().fresh) window.seen.liveAfter ||= performance.now() - began;
});

function Listener({ index }: { readonly index: number }) {
  useChannel("item_update", () => {
    window.seen.perComponent[index] = (window.seen.perComponent[index] ?? 0) + 1;
  });
  return null;
}

/** The original shape: subscribe in an effect, return `unsubscribe`. */
function Recorder() {
  const { subscribe } = useWebSocket();
  useEffect(
    () =>
      subscribe("item_update", (payload) => window.seen.events.push(payload as Item), {
        onGone: (key) => window.seen.others.push(key),
        onSkipped: ({ code }) => window.seen.others.push(code),
      }),
    [subscribe],
  );
  return null;
}

/** No state of its own: it begins where the server is, as soon as that is known. */
const load = () =>
  new Promise<{ data: Record<number, number>; cursor: string }>((resolve) => {
    const look = () => {
      const cursor = client.position();
      if (cursor === undefined) return;
      stop();
      resolve({ data: {}, cursor });
    };
    const stop = client.connection.subscribe(look);
    look();
  });
const reduce = (items: Record<number, number>, payload: unknown): Record<number, number> => {
  const item = payload as Item;
  return { ...items, [item.item_id]: item.version };
};

const gone = (items: Record<number, number>, key: unknown): Record<number, number> => {
  const { item_id } = key as Item;
  return Object.fromEntries(Object.entries(items).filter(([id]) => Number(id) !== item_id));
};

function Rows() {
  const { data } = useChannelState<"item_update", Record<number, number>>("item_update", { load, reduce, gone });
  const text = JSON.stringify(data ?? {});
  useEffect(() => {
    window.seen.renders.push(text);
  }, [text]);
  return <pre data-testid="rows">{text}</pre>;
}

function Badge() {
  const { status, fresh } = useConnection();
  return <p data-testid="badge">{`${status} ${fresh ? "fresh" : "stale"}`}</p>;
}

function App() {
  const [shown, setShown] = useState(true);
  return (
    <>
      <Badge />
      <Recorder />
      <Rows />
      {shown && window.seen.perComponent.map((_, index) => <Listener key={index} index={index} />)}
      <button type="button" onClick={() => setShown(!shown)}>
        toggle
      </button>
    </>
  );
}

const root = document.getElementById("root");
if (root)
  createRoot(root).render(
    <StrictMode>
      <RealtimeProvider client={client}>
        <App />
      </RealtimeProvider>
    </StrictMode>,
  );
