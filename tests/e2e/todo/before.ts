/** The collections as TanStack DB's own example has them: loaded by a query, and loaded again after each change. */
import { QueryClient } from "@tanstack/query-core";
import { queryCollectionOptions } from "@tanstack/query-db-collection";
import { createCollection } from "@tanstack/react-db";
import { type Config, read, type Todo, write } from "./api.js";

const queryClient = new QueryClient();

export const todos = createCollection(
  queryCollectionOptions({
    id: "todos",
    queryKey: ["todos"],
    queryFn: () => read<Todo>("todos"),
    queryClient,
    getKey: ({ id }) => id,
    onInsert: ({ transaction }) => write(...transaction.mutations.map(({ modified }) => ({ todo: modified }))),
    onUpdate: ({ transaction }) => write(...transaction.mutations.map(({ modified }) => ({ todo: modified }))),
    onDelete: ({ transaction }) => write(...transaction.mutations.map(({ original }) => ({ delete: original.id }))),
  }),
);

export const config = createCollection(
  queryCollectionOptions({
    id: "config",
    queryKey: ["config"],
    queryFn: () => read<Config>("config"),
    queryClient,
    getKey: ({ key }) => key,
    onInsert: ({ transaction }) => write(...transaction.mutations.map(({ modified }) => ({ config: modified }))),
    onUpdate: ({ transaction }) => write(...transaction.mutations.map(({ modified }) => ({ config: modified }))),
  }),
);
