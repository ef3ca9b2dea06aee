// The server declares other channels than this page was built for: a newer version of the page is there.
import { RealtimeError } from "@flowcraft/realtime";
import { RefreshCw } from "lucide-react";
import { useSyncExternalStore } from "react";
import { Button } from "@/ui/button";

const CHANGED = "flowcraft:outdated";
let outdated = false;

/** The client's `onError`: what is not about the version goes where errors go. */
export function hearOfErrors(error: unknown): void {
  if (!(error instanceof RealtimeError && error.code === "schema")) return reportError(error);
  outdated = true;
  window.dispatchEvent(new Event(CHANGED));
}

function follow(changed: () => void): () => void {
  window.addEventListener(CHANGED, changed);
  return () => window.removeEventListener(CHANGED, changed);
}

export function OutdatedBar() {
  const shown = useSyncExternalStore(follow, () => outdated);
  if (!shown) return null;
  return (
    <div role="status" data-testid="outdated" className="flex items-center gap-3 border-b border-accent/20 bg-info-soft py-2 pr-3 pl-4 sm:px-6 lg:px-8">
      <RefreshCw aria-hidden className="size-4 shrink-0 text-accent" />
      <p className="min-w-0 flex-1 text-[13px] font-medium text-pretty">A newer version of this page is ready.</p>
      <Button size="small" onClick={() => location.reload()}>
        Reload
      </Button>
    </div>
  );
}
