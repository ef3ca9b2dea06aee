import { Activity, LayoutDashboard, RadioTower, Workflow, type LucideIcon } from "lucide-react";
import { useEffect, useRef, type ReactNode } from "react";
import { AuditBadge } from "@/audit/audit-badge";
import { useDashboard } from "@/features/dashboard/hooks/use-dashboard";
import { Banner } from "@/features/system/components/banner";
import { Bell } from "@/features/system/components/bell";
import { classes } from "@/lib/classes";
import { count } from "@/lib/format";
import { Logo } from "./logo";
import { OutdatedBar } from "./outdated";
import { Link, paths, type Route } from "./router";
import { ShortcutsDialog } from "./shortcuts";
import { ThemeButton } from "./theme-button";

interface Place {
  readonly name: string;
  readonly to: string;
  readonly icon: LucideIcon;
  readonly pages: readonly Route["page"][];
}

const places: readonly Place[] = [
  { name: "Dashboard", to: paths.dashboard, icon: LayoutDashboard, pages: ["dashboard"] },
  { name: "Flows", to: paths.flows, icon: Workflow, pages: ["flows"] },
  { name: "Runs", to: paths.runs(), icon: Activity, pages: ["runs", "run"] },
  { name: "System", to: paths.system, icon: RadioTower, pages: ["system"] },
];

export function Shell({ route, children }: { route: Route; children: ReactNode }) {
  const main = useRef<HTMLElement>(null);
  const place = route.page === "run" ? route.runId : route.page;
  const first = useRef(place);

  // A new page takes the focus, so that a screen reader and the Tab key start at its top; the first one leaves it to the browser.
  useEffect(() => {
    if (first.current !== place) main.current?.focus({ preventScroll: true });
    first.current = "";
  }, [place]);

  return (
    <div className="min-h-dvh md:grid md:grid-cols-[13.5rem_minmax(0,1fr)]">
      <a
        href="#main"
        className="absolute top-2 left-2 z-50 -translate-y-20 rounded-md bg-text px-3 py-2 text-sm font-medium text-page focus:translate-y-0"
      >
        Skip to the page
      </a>
      <Sidebar route={route} />
      <div className="flex min-w-0 flex-col">
        <header className="sticky top-0 z-30 border-b bg-page/85 backdrop-blur-md">
          <div className="flex h-14 items-center gap-1 px-3 sm:px-6 lg:px-8">
            <Link to={paths.dashboard} aria-label="FlowCraft, dashboard" className="mr-1 shrink-0 rounded-lg md:hidden">
              <Logo className="size-7" />
            </Link>
            <div className="ml-auto flex min-w-0 items-center gap-1">
              <AuditBadge />
              <Bell />
            </div>
          </div>
        </header>
        <OutdatedBar />
        <Banner />
        <main ref={main} id="main" tabIndex={-1} className="flex-1 pb-[calc(3.5rem+env(safe-area-inset-bottom))] md:pb-0">
          {children}
        </main>
      </div>
      <Tabs route={route} />
      <ShortcutsDialog />
    </div>
  );
}

function Sidebar({ route }: { route: Route }) {
  const { rows: history } = useDashboard();
  const now = history?.at(-1);
  const active = now === undefined ? 0 : now.running + now.queued;
  return (
    <aside className="sticky top-0 hidden h-dvh flex-col border-r bg-surface/60 px-3 pb-3 md:flex">
      <Link to={paths.dashboard} className="mb-3 flex h-14 items-center gap-2.5 rounded-lg px-2 text-[15px] font-semibold tracking-tight">
        <Logo className="size-6.5" /> FlowCraft
      </Link>
      <nav aria-label="Main" className="grid gap-0.5">
        {places.map(({ name, to, icon: Icon, pages }) => {
          const here = pages.includes(route.page);
          return (
            <Link
              key={name}
              to={to}
              aria-current={here ? "page" : undefined}
              className={classes(
                "flex h-9 items-center gap-2.5 rounded-lg px-2.5 text-sm font-medium transition-colors",
                here ? "bg-text/7 text-text" : "text-muted hover:bg-text/4 hover:text-text",
              )}
            >
              <Icon aria-hidden className={classes("size-4", here && "text-accent")} />
              {name}
              {name === "Runs" && active > 0 && (
                <span title={`${count(active)} queued or running`} className="ml-auto rounded-full bg-running/12 px-1.5 text-[11px] leading-[18px] font-semibold text-running tabular-nums">
                  {count(active)}
                </span>
              )}
            </Link>
          );
        })}
      </nav>
      <div className="mt-auto flex items-center justify-between border-t pt-2">
        <p className="pl-2 text-xs text-faint">
          Press <kbd className="rounded border border-line-strong bg-subtle px-1 font-mono text-[11px]">?</kbd> for keys
        </p>
        <ThemeButton />
      </div>
    </aside>
  );
}

/** The same places within a thumb's reach. */
function Tabs({ route }: { route: Route }) {
  return (
    <nav
      aria-label="Main"
      className="fixed inset-x-0 bottom-0 z-30 grid grid-cols-4 border-t bg-surface/95 pb-[env(safe-area-inset-bottom)] backdrop-blur-md md:hidden"
    >
      {places.map(({ name, to, icon: Icon, pages }) => {
        const here = pages.includes(route.page);
        return (
          <Link
            key={name}
            to={to}
            aria-current={here ? "page" : undefined}
            className={classes(
              "flex h-14 flex-col items-center justify-center gap-1 text-[11px] font-medium -outline-offset-2",
              here ? "text-accent" : "text-muted",
            )}
          >
            <Icon aria-hidden className="size-5" />
            {name}
          </Link>
        );
      })}
    </nav>
  );
}
