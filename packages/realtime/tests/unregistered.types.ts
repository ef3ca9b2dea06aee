/** Type tests without a registration: any channel, unknown payloads. Run by tsc, not by vitest. */
import { type ChannelName, createClient, type Payload } from "@flowcraft/realtime";
import { usePresence } from "@flowcraft/realtime/presence";
import { expectTypeOf } from "vitest";

expectTypeOf<ChannelName>().toEqualTypeOf<string>();
expectTypeOf<Payload<"anything">>().toEqualTypeOf<unknown>();

export const Present = () => expectTypeOf(usePresence("anything").members).toEqualTypeOf<readonly unknown[]>();

const client = createClient();
client.subscribe("anything", (payload) => expectTypeOf(payload).toEqualTypeOf<unknown>());
client.subscribe("anything", () => undefined, { onGone: (key) => expectTypeOf(key).toEqualTypeOf<Readonly<Record<string, unknown>>>() });
// @ts-expect-error -- unknown until it is told apart, or the channels are registered
client.subscribe("anything", (payload) => "" in payload.status);
