import { rowsCollection, settling } from "@flowcraft/realtime/tanstack-db";
import { createCollection } from "@tanstack/react-db";
import { client } from "./clients";
import { channel } from "./realtime.gen";
import { createTask, renameTask } from "./tasks-api";

export const users = createCollection(rowsCollection(client, channel.userRows));

export const tasks = createCollection({
  ...rowsCollection(client, channel.taskRows(7)),
  onInsert: ({ transaction }) => settling(client, createTask(transaction.mutations[0].modified)),
  onUpdate: ({ transaction }) => settling(client, renameTask(transaction.mutations[0].modified)),
});
