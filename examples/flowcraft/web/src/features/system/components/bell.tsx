import * as Popover from "@radix-ui/react-popover";
import { Bell as BellIcon, BellOff } from "lucide-react";
import { Link, paths } from "@/app/router";
import { plural } from "@/lib/format";
import { Button } from "@/ui/button";
import { Empty } from "@/ui/states";
import { useAnnouncementFeed } from "../announcement-feed";
import { AnnouncementItem } from "./announcement";

const SHOWN = 5;

export function Bell() {
  const { announcements = [], unread, markRead } = useAnnouncementFeed();
  return (
    <Popover.Root onOpenChange={(open) => !open && markRead()}>
      <Popover.Trigger asChild>
        <Button look="quiet" size="icon" data-testid="bell" data-unread={unread} aria-label={unread === 0 ? "Announcements" : `Announcements, ${unread} unread`}>
          <BellIcon aria-hidden className="size-[18px]" />
          {unread > 0 && <span aria-hidden className="absolute top-2 right-2 size-2 rounded-full bg-accent ring-2 ring-page" />}
        </Button>
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          align="end"
          sideOffset={6}
          collisionPadding={12}
          aria-label="Announcements"
          className="animate-in z-50 w-[min(22rem,calc(100vw-1.5rem))] overflow-hidden rounded-xl border bg-surface shadow-lifted"
        >
          <div className="flex items-baseline gap-2 border-b px-4 py-3">
            <p className="text-sm font-semibold">Announcements</p>
            {unread > 0 && <span className="text-xs text-faint">{plural(unread, "new one")}</span>}
          </div>
          {announcements.length === 0 ? (
            <Empty icon={BellOff} title="Nothing has been announced" />
          ) : (
            <ul className="pane-scroll max-h-80 overflow-y-auto py-1.5">
              {announcements.slice(0, SHOWN).map((announcement) => (
                <AnnouncementItem key={announcement.announcement_id} announcement={announcement} className="px-4 py-2" />
              ))}
            </ul>
          )}
          <Popover.Close asChild>
            <Link to={paths.system} className="block border-t px-4 py-2.5 text-[13px] font-medium text-muted hover:bg-hover hover:text-text">
              All announcements
            </Link>
          </Popover.Close>
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}
