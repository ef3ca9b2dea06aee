import { useChannelState } from "@flowcraft/realtime/react";
import { api } from "@/lib/api";
import { channel } from "@/realtime.gen";
import { withAnnouncement } from "../announcements";

/** The last announcements, newest first. */
export function useAnnouncements() {
  return useChannelState(channel.system, { load: api.announcements, reduce: withAnnouncement });
}
