/** An error with a code of the protocol or of this client. */
export class RealtimeError extends Error {
  declare readonly code: string;
  declare readonly channel: string | undefined;

  constructor(code: string, message: string, channel?: string) {
    super(message);
    this.name = "RealtimeError";
    this.code = code;
    this.channel = channel;
  }
}

export const stopped = (what: string) => new RealtimeError("stopped", `${what}; reconnect() starts again`);
export const missed = (channel: string, reason: string) =>
  new RealtimeError(reason, `events of ${channel} were missed (${reason}); load the state again`, channel);
