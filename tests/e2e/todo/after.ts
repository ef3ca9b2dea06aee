/** The same collections, moved to rows: what anybody commits is there, and no list is loaded again. */
import { createClient } from "@flowcraft/realtime";
import { rowsCollection, settling } from "@flowcraft/realtime/tanstack-db";
import { createCollection, type SyncConfig } from "@tanstack/react-db";
import { type Config, type Todo, write } from "./api.js";

const client = createClient({ url: "/realtime" });

/** The types are those of the rows; an application has them from its generated file. */
const rows = <R extends object>(name: string, key: string) =>
  rowsCollection(client, name, [key]) as unknown as { id: string; getKey: (row: R) => string; sync: SyncConfig<R, string> };

export const todos = createCollection({
  ...rows<Todo>("todo_rows", "id"),
  onInsert: ({ transaction }) => settling(client, write(...transaction.mutations.map(({ modified }) => ({ todo: modified })))),
  onUpdate: ({ transaction }) => settling(client, write(...transaction.mutations.map(({ modified }) => ({ todo: modified })))),
  onDelete: ({ transaction }) => settling(client, write(...transaction.mutations.map(({ original }) => ({ delete: original.id })))),
});

export const config = createCollection({
  ...rows<Config>("config_rows", "key"),
  onInsert: ({ transaction }) => settling(client, write(...transaction.mutations.map(({ modified }) => ({ config: modified })))),
  onUpdate: ({ transaction }) => settling(client, write(...transaction.mutations.map(({ modified }) => ({ config: modified })))),
});
