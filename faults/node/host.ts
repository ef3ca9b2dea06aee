/** The host: real clients in Node, which run the commands on standard input, an object a line. */
import { createInterface } from "node:readline";
import { createClient } from "../../packages/realtime/src/client.js";
import type { Client } from "../../packages/realtime/src/options.js";
import { channelStore } from "../../packages/realtime/src/state.js";
import { race } from "./race.js";

type Rows = Readonly<Record<string, number>>;
type Change = { readonly row: string | number; readonly version: number };
type Follow = {
  readonly follow: string;
  readonly client: string;
  readonly channel: string;
  readonly since: string | null;
  readonly echo: boolean;
};
type Race = { readonly race: string; readonly client: string; readonly channel: string; readonly rounds: number; readonly seed: number };
type State = { readonly state: string; readonly client: string; readonly channel: string };
type Loaded =
  | { readonly loaded: number; readonly data: Rows; readonly cursor: string }
  | { readonly loaded: number; readonly error: string };
type Command =
  | { readonly open: string; readonly url: string; readonly linger: number | null }
  | Follow
  | { readonly began: string; readonly since: string }
  | { readonly settle: string; readonly client: string; readonly id: string }
  | Race
  | State
  | Loaded
  | { readonly read: string; readonly id: string }
  | { readonly drop: string };

const clients = new Map<string, Client>();
const followings = new Map<string, Follow>();
const states = new Map<string, { readonly get: () => object; readonly stop: () => void }>();
const loads = new Map<number, (loaded: Loaded) => void>();
let lastLoad = 0;

const lines: string[] = [];
const flush = () => process.stdout.write(lines.splice(0).join(""));

/** One write for all that is sent at once. */
const send = (line: object) => {
  if (lines.push(`${JSON.stringify(line)}\n`) === 1) setImmediate(flush);
};

const complain = (error: unknown) => send({ error: String(error) });

/** Seconds of the clock that is Python's `time.monotonic`. */
const now = () => Number(process.hrtime.bigint()) / 1e9;

const named = <V>(known: ReadonlyMap<string, V>, name: string): V => {
  const found = known.get(name);
  if (found === undefined) throw new Error(`nothing here is named ${name}`);
  return found;
};

const follow = (command: Follow) => {
  const { follow: name, client, channel, since, echo } = command;
  const handler = (payload: unknown) => {
    const { row, version } = payload as Change;
    send(echo ? { echo: name, text: JSON.stringify(payload) } : { received: name, row, version, at: now() });
  };
  const end = named(clients, client).subscribe(channel, handler, {
    ...(since === null ? {} : { since }),
    onFresh: (fresh) => (fresh ? send({ fresh: name }) : undefined),
    onReset: ({ code }) => {
      end();
      send({ reset: name, reason: code });
      send({ cursor: name });
    },
    onError: complain,
  });
  followings.set(name, command);
};

const settle = (client: Client, xid: string, id: string) =>
  client.settled(xid).then(
    () => send({ settled: id }),
    (error: unknown) => send({ settled: id, error: String(error) }),
  );

const load = (name: string) => {
  const call = ++lastLoad;
  send({ load: name, call });
  return new Promise<{ data: Rows; cursor: string }>((resolve, reject) => {
    loads.set(call, (loaded) => ("error" in loaded ? reject(new Error(loaded.error)) : resolve(loaded)));
  });
};

/** Reports everything that it shows. */
const keepState = ({ state: name, client, channel }: State) => {
  const state = channelStore<string, Rows>(named(clients, client), channel, {
    load: () => load(name),
    reduce: (rows, payload) => {
      const { row, version } = payload as Change;
      return { ...rows, [row]: version };
    },
  });
  const get = () => {
    const { data = null, fresh } = state.get();
    return { data, fresh };
  };
  let began = false;
  const stop = state.subscribe(() => (began ? send({ shown: name, ...get() }) : undefined));
  began = true;
  states.set(name, { get, stop });
};

const obey = (command: Command): void => {
  if ("open" in command) {
    const { open, url, linger } = command;
    clients.set(open, createClient({ url, onError: complain, ...(linger === null ? {} : { linger }) }));
  } else if ("follow" in command) follow(command);
  else if ("began" in command) follow({ ...named(followings, command.began), since: command.since });
  else if ("settle" in command) void settle(named(clients, command.client), command.settle, command.id);
  else if ("race" in command) {
    const { race: name, client, channel, rounds, seed } = command;
    void race(named(clients, client), channel, rounds, seed).then((raced) => send({ raced: name, ...raced }));
  } else if ("state" in command) keepState(command);
  else if ("loaded" in command) {
    loads.get(command.loaded)?.(command);
    loads.delete(command.loaded);
  } else if ("read" in command) send({ answer: command.id, ...named(states, command.read).get() });
  else named(states, command.drop).stop();
};

const end = () => {
  for (const { stop } of states.values()) stop();
  for (const client of clients.values()) client.close();
  flush();
  process.exit();
};

createInterface(process.stdin)
  .on("line", (line) => obey(JSON.parse(line) as Command))
  .on("close", end);
