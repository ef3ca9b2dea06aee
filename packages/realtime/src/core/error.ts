/** An error with the code that the protocol, or this client, gives it. */
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
