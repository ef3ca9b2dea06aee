/** An application on TanStack DB: todos, a colour, optimistic changes. Its collections are `before.ts`, or with `?rows` `after.ts`. */
import { eq, useLiveQuery } from "@tanstack/react-db";
import { type SyntheticEvent, StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

declare global {
  interface Window {
    /** What React committed: the texts of the todos, how many are open, and the colour. */
    committed: { readonly texts: readonly string[]; readonly open: number; readonly colour: string }[];
  }
}
window.committed = [];

const { todos, config } = location.search.includes("rows") ? await import("./after.js") : await import("./before.js");

function App() {
  const [text, setText] = useState("");
  const [problem, setProblem] = useState("");
  const { data: all, isReady } = useLiveQuery((q) => q.from({ todo: todos }).orderBy(({ todo }) => todo.text));
  const { data: open } = useLiveQuery((q) => q.from({ todo: todos }).where(({ todo }) => eq(todo.completed, false)));
  const { data: colours } = useLiveQuery((q) => q.from({ entry: config }).where(({ entry }) => eq(entry.key, "colour")));
  const colour = colours[0]?.value ?? "#ffffff";

  useEffect(() => {
    window.committed.push({ texts: all.map((todo) => todo.text), open: open.length, colour });
  }, [all, open, colour]);

  const add = (event: SyntheticEvent) => {
    event.preventDefault();
    setProblem("");
    todos.insert({ id: crypto.randomUUID(), text, completed: false }).when("settled").catch((error: unknown) => setProblem(String(error)));
    setText("");
  };
  const paint = (value: string) => {
    if (colours[0]) config.update("colour", (entry) => void Object.assign(entry, { value }));
    else config.insert({ key: "colour", value });
  };

  return (
    <main style={{ backgroundColor: colour }}>
      <h1>{isReady ? `${open.length} of ${all.length} open` : "loading"}</h1>
      <form onSubmit={add}>
        <input aria-label="What needs to be done?" value={text} onChange={({ target }) => setText(target.value)} />
        <button>Add</button>
      </form>
      <p role="alert">{problem}</p>
      <ul>
        {all.map((todo) => (
          <li key={todo.id}>
            <label>
              <input
                type="checkbox"
                checked={todo.completed}
                onChange={() => todos.update(todo.id, (draft) => void Object.assign(draft, { completed: !draft.completed }))}
              />
              {todo.text}
            </label>
            <button onClick={() => todos.delete(todo.id)}>{`Delete ${todo.text}`}</button>
          </li>
        ))}
      </ul>
      <button onClick={() => paint("#ffeeee")}>Red</button>
      <button onClick={() => paint("#eeeeff")}>Blue</button>
    </main>
  );
}

const root = document.getElementById("root");
if (root)
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
