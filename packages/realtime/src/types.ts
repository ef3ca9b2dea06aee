/** Types that a generated file completes by declaration merging. */

/**
 * Holds the application's channels once a generated file declares them:
 * `declare module "@flowcraft/realtime" { interface Register { channels: Channels } }`.
 */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- merged into by generated code
export interface Register {}

type Registered = Register extends { readonly channels: infer Channels } ? Channels : Record<string, unknown>;

/** The name of a declared channel: `run_update`, `runs.${string}`. Without a registration, any string. */
export type ChannelName = Extract<keyof Registered, string>;

/** Ends a subscription. A named interface, so that a rule of `@flowcraft/realtime/eslint` can recognize it. */
export interface Unsubscribe {
  // eslint-disable-next-line @typescript-eslint/prefer-function-type -- the name of an alias is lost on its way through hooks
  (): void;
}

/** The payload of a channel's events. Without a registration, `unknown`. */
export type Payload<C extends ChannelName> = Registered[C];

/** The key of a row that left a channel: those fields of its events that are the key of the table. */
export type Gone<C extends ChannelName> = KeyOf<Payload<C>>;
type KeyOf<P> = P extends object ? Readonly<Partial<P>> : Readonly<Record<string, unknown>>;
