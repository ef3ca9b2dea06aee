import * as Popover from "@radix-ui/react-popover";
import { classes } from "@/lib/classes";
import { useAudit } from "./audit";
import { Delivery, HealthDot, healthLook, isSound, useHealth } from "./delivery";

/** Connection and freshness, and whether the audit has found something; what it counts, on demand. */
export function AuditBadge() {
  const health = useHealth();
  const report = useAudit();
  const sound = isSound(report);
  return (
    <Popover.Root>
      <Popover.Trigger asChild>
        <button
          type="button"
          data-testid="badge"
          data-health={health}
          data-sound={sound}
          data-checked={report.checked}
          className={classes(
            "inline-flex h-8 min-w-0 items-center gap-1.5 rounded-full border bg-surface pr-2.5 pl-2 text-[11px] sm:gap-2 sm:pr-3 sm:pl-2.5 sm:text-xs whitespace-nowrap shadow-card transition-colors hover:border-line-strong",
            !sound && "border-failed/50 bg-failed/8",
          )}
        >
          <HealthDot health={health} />
          <span data-testid="badge-health" className="font-medium">
            {healthLook[health].word}
          </span>
          {!sound && <span className="font-medium text-failed">check the delivery</span>}
        </button>
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          align="end"
          sideOffset={8}
          collisionPadding={12}
          aria-label="Delivery"
          className="animate-in z-50 w-[min(22rem,calc(100vw-1.5rem))] rounded-xl border bg-surface p-4 shadow-lifted"
        >
          <Delivery />
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}
