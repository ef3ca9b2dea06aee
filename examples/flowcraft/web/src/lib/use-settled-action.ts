import { useClient } from "@flowcraft/realtime/react";
import { useCallback, useOptimistic, useTransition } from "react";
import { nextFrame } from "./frame";
import { explain, type Written } from "./api";

/**
 * A change that shows at once and is true later.
 *
 * `run` shows `expected(value)` immediately and sends the request. The expectation stays in view until the transaction's own
 * events have arrived (`settled`): there is no moment in which the old value comes back. If the request is refused,
 * the expectation is dropped, which is the roll-back, and `failed` is called with the reason.
 */
export function useSettledAction<T>(value: T, failed: (reason: string) => void) {
  const client = useClient();
  const [shown, expect] = useOptimistic(value, (current: T, expected: (current: T) => T) => expected(current));
  const [pending, begin] = useTransition();

  const run = useCallback(
    (expected: (current: T) => T, send: () => Promise<Written>) =>
      begin(async () => {
        expect(expected);
        try {
          const { xid } = await send();
          await client.settled(xid);
          await nextFrame(); // state hooks render once a frame: by then the events are not only here but in view
        } catch (error) {
          failed(explain(error));
        }
      }),
    [begin, client, expect, failed],
  );
  return { shown, pending, run };
}
