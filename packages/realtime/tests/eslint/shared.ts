/** What the cases of the rule import from another file. */
import { createClient, type Client } from "@flowcraft/realtime";

export const client = createClient();

export function makeFeed(of: Pick<Client, "subscribe">) {
  return { open: () => of.subscribe("system", () => undefined), name: () => "feed" };
}

export declare function later(): Promise<void>;
export declare function log(...what: unknown[]): void;
