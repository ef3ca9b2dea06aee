import type { Task } from "./realtime.gen";

type Written = { readonly xid: string };

const send = async (method: string, task: Task): Promise<Written> => {
  const response = await fetch(`/api/tasks/${task.id}`, { method, body: JSON.stringify(task) });
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as Written;
};

export const createTask = (task: Task): Promise<Written> => send("PUT", task);
export const renameTask = (task: Task): Promise<Written> => send("PATCH", task);
