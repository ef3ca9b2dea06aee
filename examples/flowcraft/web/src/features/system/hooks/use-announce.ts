import { useClient } from "@flowcraft/realtime/react";
import { useCallback, useState } from "react";
import { api, explain } from "@/lib/api";
import type { Announcement } from "@/realtime.gen";

type Sending =
  | { readonly state: "idle" }
  | { readonly state: "sending" }
  | { readonly state: "refused"; readonly reason: string };

/** Announces something; `announce` resolves to true when it has reached this page too. */
export function useAnnounce() {
  const client = useClient();
  const [sending, setSending] = useState<Sending>({ state: "idle" });

  const announce = useCallback(
    async (text: string, level: Announcement["level"]): Promise<boolean> => {
      setSending({ state: "sending" });
      try {
        const { xid } = await api.announce(text, level);
        await client.settled(xid);
        setSending({ state: "idle" });
        return true;
      } catch (error) {
        setSending({ state: "refused", reason: explain(error) });
        return false;
      }
    },
    [client],
  );
  return { sending, announce };
}
