/** The API of the list, and the two kinds of rows. */
export type Todo = { readonly id: string; readonly text: string; readonly completed: boolean };
export type Config = { readonly key: string; readonly value: string };
export type Change = { readonly todo: Todo } | { readonly delete: string } | { readonly config: Config };

export const read = async <R>(table: "todos" | "config"): Promise<R[]> => {
  const response = await fetch(`/api/${table}`);
  return (await response.json()) as R[];
};

/** Write some rows in one transaction, whose id is returned. */
export const write = async (...changes: Change[]): Promise<{ readonly xid: string }> => {
  const response = await fetch("/api/changes", { method: "POST", body: JSON.stringify(changes) });
  if (!response.ok) throw new Error(((await response.json()) as { error: string }).error);
  return (await response.json()) as { xid: string };
};
