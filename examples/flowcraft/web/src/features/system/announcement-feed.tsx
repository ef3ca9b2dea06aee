// The bell, the banner and the page "System" show the same announcements: they are kept once, here.
import { createContext, use, useCallback, useMemo, useState, type ReactNode } from "react";
import { useNow } from "@/lib/now";
import { recall, remember } from "@/lib/stored";
import type { Announcement } from "@/realtime.gen";
import { bannerOf, unreadCount } from "./announcements";
import { useAnnouncements } from "./hooks/use-announcements";

interface Feed {
  /** Undefined until they have arrived. */
  readonly announcements: readonly Announcement[] | undefined;
  readonly error: unknown;
  readonly banner: Announcement | null;
  readonly closeBanner: () => void;
  readonly unread: number;
  readonly markRead: () => void;
}

const FeedContext = createContext<Feed | null>(null);

export function AnnouncementFeed({ children }: { children: ReactNode }) {
  const { rows, error } = useAnnouncements();
  const now = useNow();
  const [closed, setClosed] = useStored("banner-closed");
  const [seen, setSeen] = useStored("announcement-seen");
  const announcements = rows ?? none;
  const newest = announcements[0]?.announcement_id;
  const banner = bannerOf(announcements, closed, now);
  const unread = unreadCount(announcements, seen);

  const closeBanner = useCallback(() => newest !== undefined && setClosed(newest), [newest, setClosed]);
  const markRead = useCallback(() => newest !== undefined && setSeen(newest), [newest, setSeen]);
  const feed = useMemo(
    () => ({ announcements: rows, error, banner, closeBanner, unread, markRead }),
    [rows, error, banner, closeBanner, unread, markRead],
  );
  return <FeedContext value={feed}>{children}</FeedContext>;
}

export function useAnnouncementFeed(): Feed {
  const feed = use(FeedContext);
  if (feed === null) throw new Error("useAnnouncementFeed needs an <AnnouncementFeed> above it");
  return feed;
}

const none: readonly Announcement[] = [];

function useStored(key: string): [string | null, (value: string) => void] {
  const [value, setValue] = useState(() => recall(key));
  const store = useCallback(
    (next: string) => {
      remember(key, next);
      setValue(next);
    },
    [key],
  );
  return [value, store];
}
