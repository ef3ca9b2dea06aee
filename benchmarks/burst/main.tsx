/**
 * Fifty components that show the latest event of one channel: as state (`?hook=state`), or each by its own handler
 * (`?hook=handler`). Or one that shows the first of many rows, as a list does of which a window is on the screen: of all
 * (`?hook=rows`), or of those that it selects (`?hook=where`).
 */
import { createClient } from "@flowcraft/realtime";
import { RealtimeProvider, useChannel, useChannelState, useConnection } from "@flowcraft/realtime/react";
import { useRows } from "@flowcraft/realtime/rows";
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

declare global {
  interface Window {
    /** How often rows were rendered. */
    rendered: number;
  }
}
window.rendered = 0;

const COMPONENTS = 50;
const SHOWN = 20;
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

type Task = { readonly id: number; readonly title: string };
const isEven = (row: unknown): boolean => (row as Task).id % 2 === 0;

function First() {
  const { rows } = useRows("task_rows.1", query.get("hook") === "where" ? { where: isEven } : {});
  const tasks = rows as readonly Task[] | undefined;
  useEffect(() => {
    window.rendered += 1;
  });
  if (!tasks) return <p>loading</p>;
  return (
    <>
      <p>
        rows 1 to {SHOWN} of {tasks.length}
      </p>
      <ul>
        {tasks.slice(0, SHOWN).map(({ id, title }) => (
          <li key={id}>{title}</li>
        ))}
      </ul>
    </>
  );
}

function App() {
  const { status } = useConnection();
  const hook = query.get("hook");
  const Latest = hook === "state" ? AsState : ByHandler;
  return (
    <>
      <p>{status}</p>
      {hook === "rows" || hook === "where" ? (
        <First />
      ) : (
        Array.from({ length: COMPONENTS }, (_, index) => <Latest key={index} />)
      )}
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
