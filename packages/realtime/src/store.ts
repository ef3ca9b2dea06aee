/** Stores: a channel's state, and the connection, for any framework; `useChannelState` uses the same. */
import type { Client } from "./options.js";
import type { Connection } from "./core/machine.js";

export { type RowList, type RowsSnapshot, type RowsStore, rowsStore } from "./collection.js";
export { type PresenceOptions, type PresenceSnapshot, type PresenceStore, presenceStore } from "./members.js";
export { type ChannelStateOptions, type ChannelStore, channelStore, type Snapshot } from "./state.js";

/** The connection as a Svelte store: `run` is called now and after each change. */
export const connectionStore = ({ connection }: Client) => ({
  get: connection.get,
  subscribe: (run: (connection: Connection) => void): (() => void) => {
    run(connection.get());
    return connection.subscribe(() => run(connection.get()));
  },
});
