import { X } from "lucide-react";
import { classes } from "@/lib/classes";
import { useAnnouncementFeed } from "../announcement-feed";
import { levelLook } from "./announcement";

/** The newest announcement, above every page until it is closed. */
export function Banner() {
  const { banner, closeBanner } = useAnnouncementFeed();
  if (banner === null) return null;
  const { icon: Icon, color, banner: look } = levelLook[banner.level];
  return (
    <div
      key={banner.announcement_id}
      role={banner.level === "critical" ? "alert" : "status"}
      data-testid="banner"
      data-level={banner.level}
      className={classes("flex items-center gap-3 border-b py-2 pr-2 pl-4 sm:px-6 lg:px-8", look)}
    >
      <Icon aria-hidden className={classes("size-4 shrink-0", color)} />
      <p className="min-w-0 flex-1 text-[13px] font-medium break-words text-pretty">{banner.text}</p>
      <button
        type="button"
        aria-label="Close the announcement"
        data-testid="banner-close"
        onClick={closeBanner}
        className="grid size-8 shrink-0 place-items-center rounded-md text-muted hover:bg-text/8 hover:text-text"
      >
        <X aria-hidden className="size-4" />
      </button>
    </div>
  );
}
