/** Fifty components that show the latest event of one channel. */
import { createClient } from "@flowcraft/realtime";
import { RealtimeProvider, useChannel, useConnection } from "@flowcraft/realtime/react";
import { useState } from "react";
import { createRoot } from "react-dom/client";

const COMPONENTS = 50;
const client = createClient({ url: new URLSearchParams(location.search).get("ws") ?? "" });

function Latest() {
  const [version, setVersion] = useState(0);
  useChannel("item_update", (payload) => setVersion((payload as { version: number }).version));
  return <output>{version}</output>;
}

function App() {
  const { status } = useConnection();
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
