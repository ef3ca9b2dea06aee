import { useRows } from "@flowcraft/realtime/rows";
import { channel } from "@/realtime.gen";
import { newestFirst } from "../announcements";

/** The last announcements, newest first. */
export function useAnnouncements() {
  return useRows(channel.announcementRows, { sort: newestFirst });
}
