import type { Client } from "@flowcraft/realtime";
import { channelStore } from "@flowcraft/realtime/store";
import { loadRuns, withRun } from "./api";

/** The client is an argument, so that a test can give another. */
export const runStore = (client: Client) =>
  channelStore(client, "run_update", { load: loadRuns, reduce: withRun, initial: [] });
