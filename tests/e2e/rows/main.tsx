/** Two lists of rows, side by side: what React committed of them is `window.commits`. With `?streams` there is no WebSocket. */
import { createClient } from "@flowcraft/realtime";
import { RealtimeProvider, useConnection } from "@flowcraft/realtime/react";
import { useRows } from "@flowcraft/realtime/rows";
import { memo, StrictMode, useEffect } from "react";
import { createRoot } from "react-dom/client";

export type Task = { readonly id: number; readonly team_id: number; readonly title: string };
declare global {
  interface Window {
    /** The ids of both lists, each time React committed others; and how often each row was rendered. */
    commits: (readonly [readonly number[], readonly number[]])[];
    renders: Record<number, number>;
  }
}
window.commits = [];
window.renders = {};

const asked = new URLSearchParams(location.search);
if (asked.has("streams")) Reflect.deleteProperty(window, "WebSocket");
const client = createClient({ url: asked.get("ws") ?? "" });

const Row = memo(function Row({ task }: { readonly task: Task }) {
  useEffect(() => {
    window.renders[task.id] = (window.renders[task.id] ?? 0) + 1;
  });
  return <li>{`${task.id}|${task.team_id}|${task.title}`}</li>;
});

function Lists() {
  const { status } = useConnection();
  const one = useRows("task_rows.1");
  const two = useRows("task_rows.2");
  const [left, right] = [one.rows, two.rows] as readonly (readonly Task[] | undefined)[];
  useEffect(() => {
    if (left && right) window.commits.push([left.map(({ id }) => id), right.map(({ id }) => id)]);
  }, [left, right]);
  return (
    <>
      <p>{`${status} ${one.fresh && two.fresh ? "fresh" : "stale"} ${one.error instanceof Error ? one.error.message : ""}`}</p>
      <ul>{[...(left ?? []), ...(right ?? [])].map((task) => <Row key={task.id} task={task} />)}</ul>
    </>
  );
}

const root = document.getElementById("root");
if (root)
  createRoot(root).render(
    <StrictMode>
      <RealtimeProvider client={client}>
        <Lists />
      </RealtimeProvider>
    </StrictMode>,
  );
