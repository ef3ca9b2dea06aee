/** The types that a generated file fills in by declaration merging. */

/**
 * Holds the application's channels once a generated file says so:
 * `declare module "@flowcraft/realtime" { interface Register { channels: Channels } }`.
 */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- merged into by generated code
export interface Register {}

type Registered = Register extends { readonly channels: infer Channels } ? Channels : Record<string, unknown>;

/** A channel that exists: `run_update`, `runs.${string}`. Without a registration, any string. */
export type ChannelName = Extract<keyof Registered, string>;

/** Ends a subscription. It is a name of its own, so that a rule of `@flowcraft/realtime/eslint` knows it from other functions. */
export interface Unsubscribe {
  // eslint-disable-next-line @typescript-eslint/prefer-function-type -- the name of an alias is lost on its way through hooks
  (): void;
}

/** What the events of a channel carry. Without a registration, `unknown`. */
export type Payload<C extends ChannelName> = Registered[C];
