import { useClient } from "@flowcraft/realtime/react";
import { BellOff } from "lucide-react";
import { ThemeButton } from "@/app/theme-button";
import { Delivery } from "@/audit/delivery";
import { Card, CardHeader } from "@/ui/card";
import { Page } from "@/ui/page";
import { Empty, Failure, Loading, Skeleton } from "@/ui/states";
import { useAnnouncementFeed } from "../announcement-feed";
import { AnnounceForm } from "./announce-form";
import { AnnouncementItem } from "./announcement";

export function SystemPage() {
  return (
    <Page
      title="System"
      lead="Announcements to everybody, and how the stream to this page is doing."
      actions={
        <span className="md:hidden">
          <ThemeButton />
        </span>
      }
    >
      <div className="grid items-start gap-4 lg:grid-cols-[1fr_22rem]">
        <div className="grid gap-4">
          <Card>
            <AnnounceForm />
          </Card>
          <Card>
            <CardHeader title="Announcements" />
            <Announcements />
          </Card>
        </div>
        <Card>
          <CardHeader title="Delivery" />
          <div className="p-4 sm:p-5">
            <Delivery />
          </div>
        </Card>
      </div>
    </Page>
  );
}

function Announcements() {
  const { announcements, error } = useAnnouncementFeed();
  const { reconnect } = useClient();
  if (announcements === undefined)
    return error === undefined ? (
      <Loading label="Loading announcements">
        <div className="space-y-4 p-5">
          <Skeleton className="h-4 w-3/4" />
          <Skeleton className="h-4 w-1/2" />
        </div>
      </Loading>
    ) : (
      <Failure error={error} onRetry={reconnect} />
    );
  if (announcements.length === 0)
    return (
      <Empty icon={BellOff} title="Nothing has been announced">
        What you announce above appears here, on every page.
      </Empty>
    );
  return (
    <ul className="divide-y">
      {announcements.map((announcement) => (
        <AnnouncementItem key={announcement.announcement_id} announcement={announcement} className="px-4 py-3 sm:px-5" />
      ))}
    </ul>
  );
}
