import { Info, OctagonAlert, TriangleAlert, type LucideIcon } from "lucide-react";
import { classes } from "@/lib/classes";
import { ago, dateAndTime } from "@/lib/format";
import { useNow } from "@/lib/now";
import type { Announcement } from "@/realtime.gen";

export type Level = Announcement["level"];

export const levelLook: Readonly<Record<Level, { icon: LucideIcon; color: string; banner: string }>> = {
  info: { icon: Info, color: "text-accent", banner: "bg-info-soft border-accent/20" },
  warning: { icon: TriangleAlert, color: "text-warning", banner: "bg-warning-soft border-warning/25" },
  critical: { icon: OctagonAlert, color: "text-failed", banner: "bg-critical-soft border-failed/30" },
};

export function AnnouncementItem({ announcement, className }: { announcement: Announcement; className?: string }) {
  const now = useNow();
  const { icon: Icon, color } = levelLook[announcement.level];
  return (
    <li data-testid="announcement" data-level={announcement.level} className={classes("flex gap-3", className)}>
      <Icon aria-label={announcement.level} className={classes("mt-0.5 size-4 shrink-0", color)} />
      <div className="min-w-0">
        <p className="text-[13px] break-words text-pretty">{announcement.text}</p>
        <time dateTime={announcement.at} title={dateAndTime(announcement.at)} className="text-xs text-faint tabular-nums">
          {ago(announcement.at, now)}
        </time>
      </div>
    </li>
  );
}
