import { eq, useLiveQuery } from "@tanstack/react-db";
import { tasks, users } from "./collections";

export function Board() {
  const { data, isLoading } = useLiveQuery((q) =>
    q
      .from({ task: tasks })
      .innerJoin({ user: users }, ({ task, user }) => eq(task.id, user.id))
      .orderBy(({ task }) => task.title)
      .select(({ task, user }) => ({ id: task.id, title: task.title, user: user.title })),
  );
  if (isLoading) return <p>…</p>;
  return (
    <ul>
      {data.map(({ id, title, user }) => (
        <li key={id} onClick={() => tasks.update(id, (task) => Object.assign(task, { title: `${title}!` }))}>
          {`${title} of ${user}`}
        </li>
      ))}
    </ul>
  );
}
