import type { Client } from "@flowcraft/realtime";
import { RealtimeProvider } from "@flowcraft/realtime/react";
import * as Tooltip from "@radix-ui/react-tooltip";
import { Compass } from "lucide-react";
import { AuditProvider } from "@/audit/audit";
import { DashboardPage } from "@/features/dashboard/components/dashboard-page";
import { FlowsPage } from "@/features/flows/components/flows-page";
import { RunPage } from "@/features/run/components/run-page";
import { RunsPage } from "@/features/runs/components/runs-page";
import { RunOutcomes } from "@/features/runs/run-outcomes";
import { AnnouncementFeed } from "@/features/system/announcement-feed";
import { SystemPage } from "@/features/system/components/system-page";
import { Card } from "@/ui/card";
import { Page } from "@/ui/page";
import { Empty } from "@/ui/states";
import { Boundary } from "./boundary";
import { Link, paths, routeOf, useAddress, type Route } from "./router";
import { Shell } from "./shell";
import { ToastProvider } from "./toasts";

export function App({ client }: { client: Client }) {
  const address = useAddress();
  const route = routeOf(address);
  return (
    <RealtimeProvider client={client}>
      <AuditProvider>
        <Tooltip.Provider delayDuration={250}>
          <ToastProvider>
            <RunOutcomes>
              <AnnouncementFeed>
                <Shell route={route}>
                  <Boundary key={route.page}>
                    <CurrentPage route={route} />
                  </Boundary>
                </Shell>
              </AnnouncementFeed>
            </RunOutcomes>
          </ToastProvider>
        </Tooltip.Provider>
      </AuditProvider>
    </RealtimeProvider>
  );
}

function CurrentPage({ route }: { route: Route }) {
  switch (route.page) {
    case "dashboard":
      return <DashboardPage />;
    case "flows":
      return <FlowsPage />;
    case "runs":
      return <RunsPage filter={route.filter} />;
    case "run":
      return <RunPage key={route.runId} runId={route.runId} />;
    case "system":
      return <SystemPage />;
    case "unknown":
      return (
        <Page title="Page not found">
          <Card>
            <Empty icon={Compass} title="There is nothing at this address">
              <Link to={paths.dashboard} className="font-medium text-accent hover:underline">
                Go to the dashboard
              </Link>
            </Empty>
          </Card>
        </Page>
      );
    default:
      return route satisfies never;
  }
}
