// Announcements as the page shows them. Pure.
import type { Announcement } from "@/realtime.gen";

export const BANNER_MS = 15 * 60_000;

export const newestFirst = (a: Announcement, b: Announcement): number => Date.parse(b.at) - Date.parse(a.at);

/** What stands above every page: the newest announcement, while it is young and the reader has not closed it. */
export function bannerOf(announcements: readonly Announcement[], closed: string | null, now: number): Announcement | null {
  const [newest] = announcements;
  if (newest === undefined || newest.announcement_id === closed) return null;
  return now - Date.parse(newest.at) < BANNER_MS ? newest : null;
}

/** How many are newer than the one the reader saw last. */
export function unreadCount(announcements: readonly Announcement[], seen: string | null): number {
  const at = announcements.findIndex((announcement) => announcement.announcement_id === seen);
  return at < 0 ? announcements.length : at;
}
