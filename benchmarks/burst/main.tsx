/** Fifty components that show the latest event of one channel: as state (`?hook=state`), or each by its own handler. */
import { createClient } from "@flowcraft/realtime";
import { RealtimeProvider, useChannel, useChannelState, useConnection } from "@flowcraft/realtime/react";
import { useState } from "react";
import { createRoot } from "react-dom/client";

const COMPONENTS = 50;
const query = new URLSearchParams(location.search);
const client = createClient({ url: query.get("ws") ?? "" });

const versionOf = (payload: unknown): number => (payload as { version: number }).version;

const load = () => Promise.resolve({ data: 0, cursor: query.get("cursor") ?? "" });

function AsState() {
  const { data } = useChannelState<"item_update", number>("item_update", {
    load,
    reduce: (_, payload) => versionOf(payload),
  });
  return <output>{data ?? "loading"}</output>;
}

function ByHandler() {
  const [version, setVersion] = useState(0);
  useChannel("item_update", (payload) => setVersion(versionOf(payload)));
  return <output>{version}</output>;
}

function App() {
  const { status } = useConnection();
  const Latest = query.get("hook") === "state" ? AsState : ByHandler;
  return (
    <>
      <p>{status}</p>
      {Array.from({ length: COMPONENTS }, (_, index) => (
        <Latest key={index} />
      ))}
    </>
  );
}

const root = document.getElementById("root");
if (root)
  createRoot(root).render(
    <RealtimeProvider client={client}>
      <App />
    </RealtimeProvider>,
  );
