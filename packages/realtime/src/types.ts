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

declare const carried: unique symbol;

/** What a channel of rows has instead of a payload: the type of its rows, and the names of their key. Only a type. */
export interface Rows<Row extends object, Key extends keyof Row & string> {
  readonly [carried]: readonly [row: (row: Row) => Row, key: (key: Key) => Key];
}

/** The name of a channel of rows. Without a registration, any string. */
export type RowsName = { [C in ChannelName]: IsRows<Registered[C]> extends true ? C : never }[ChannelName];
type IsRows<P> = unknown extends P ? true : P extends { readonly [carried]: unknown } ? true : false;

/** The payload of a channel's events; on a channel of rows, a row. Without a registration, `unknown`. */
export type Payload<C extends ChannelName> = RowOf<Registered[C]>;
type RowOf<P> = P extends { readonly [carried]: readonly [(row: never) => infer Row, unknown] } ? Row : P;

/** The key of a row that left a channel: those fields of its events that are the key of the table. */
export type Gone<C extends ChannelName> = GoneOf<Registered[C]>;
type GoneOf<P> = P extends Rows<infer Row, infer Key> ? Readonly<Pick<Row, Key>> : KeyOf<P>;

/** The rows of a channel, at one cursor, in no particular order. */
export type State<C extends ChannelName> = {
  readonly rows: readonly Payload<C>[];
  /** The names of the key's fields. */
  readonly key: readonly string[];
  /** How many rows of the table cannot be sent. */
  readonly skipped: number;
};

type MembersOf<C extends string> = C extends `${infer Entity}.${infer Id}` ? `${Entity}_members.${Id}` : `${C}_members`;

/** The name of a channel that is declared with presence. Without a registration, any string. */
export type PresenceName = { [C in ChannelName]: HasMembers<C> extends true ? C : never }[ChannelName];
type HasMembers<C extends string> = string extends C ? true : MembersOf<C> extends ChannelName ? true : false;

/** The channel with the members of another one. */
export type MembersName<C extends PresenceName> = string extends C ? string : Extract<MembersOf<C>, RowsName>;

/** A member of a channel that is declared with presence. */
export type Member<C extends PresenceName> = Payload<MembersName<C>>;

/** What finds a row: the value of its key, or an object of several. */
export type RowKey<C extends ChannelName> = RowKeyOf<Registered[C]>;
type RowKeyOf<P> = P extends Rows<infer Row, infer Key> ? (IsUnion<Key> extends true ? Readonly<Pick<Row, Key>> : Row[Key]) : unknown;
type IsUnion<T, U = T> = T extends unknown ? ([U] extends [T] ? false : true) : never;
type KeyOf<P> = P extends object ? Readonly<Partial<P>> : Readonly<Record<string, unknown>>;
