// How things stand with the stream, in words: for the badge, its panel, and the page "System".
import { useConnection } from "@flowcraft/realtime/react";
import type { ReactNode } from "react";
import { classes } from "@/lib/classes";
import { ago, count, plural } from "@/lib/format";
import { useNow } from "@/lib/now";
import { useAudit } from "./audit";
import type { Verdict } from "./ledger";

export type Health = "live" | "stale" | "connecting" | "waiting" | "stopped";

interface Look {
  readonly word: string;
  readonly dot: string;
  readonly sentence: string;
}

export const healthLook: Readonly<Record<Health, Look>> = {
  live: { word: "Live", dot: "bg-succeeded", sentence: "Connected, and everything committed so far is on this page." },
  stale: { word: "Stale", dot: "bg-warning", sentence: "Connected, but no cursor has arrived from the server for a while: this page may be behind." },
  connecting: { word: "Connecting", dot: "bg-running", sentence: "Opening the connection." },
  waiting: { word: "Reconnecting", dot: "bg-warning", sentence: "The connection was lost. It resumes by itself, with nothing missed." },
  stopped: { word: "Offline", dot: "bg-failed", sentence: "The server ended the connection for good. Reload the page." },
};

/** "Open" alone is not "fresh": one word for both. */
export function useHealth(): Health {
  const { status, fresh } = useConnection();
  if (status === "open") return fresh ? "live" : "stale";
  return status;
}

export function isSound({ lost, doubled, outOfOrder }: Verdict): boolean {
  return lost === 0 && doubled === 0 && outOfOrder === 0;
}

export function HealthDot({ health }: { health: Health }) {
  return (
    <span aria-hidden className="relative grid size-2 place-items-center">
      {health === "live" && <span className="absolute size-2 animate-ping rounded-full bg-succeeded/50 [animation-duration:2.4s]" />}
      <span className={classes("size-2 rounded-full", healthLook[health].dot)} />
    </span>
  );
}

/** The stream and the audit, in full. */
export function Delivery() {
  const health = useHealth();
  const { attempts } = useConnection();
  const report = useAudit();
  const now = useNow();
  return (
    <div className="text-[13px]">
      <p className="flex items-center gap-2.5 font-medium">
        <HealthDot health={health} /> {healthLook[health].word}
        {health === "waiting" && attempts > 0 && <span className="font-normal text-faint">{plural(attempts, "attempt")}</span>}
      </p>
      <p className="mt-1 text-pretty text-muted">{healthLook[health].sentence}</p>

      <dl className="mt-3.5 grid grid-cols-3 gap-2">
        <Figure name="Lost" value={report.lost} data-testid="audit-lost" />
        <Figure name="Doubled" value={report.doubled} data-testid="audit-doubled" />
        <Figure name="Out of order" value={report.outOfOrder} data-testid="audit-out-of-order" />
      </dl>

      <dl className="mt-3.5 space-y-1.5 border-t pt-3">
        <Line name="Changes checked">{count(report.checked)}</Line>
        <Line name="Rows and logs followed">{count(report.sources)}</Line>
        <Line name="Compared with the database">
          {report.comparedAt === null ? "not yet" : `${plural(report.compared ?? 0, "run")}, ${ago(new Date(report.comparedAt).toISOString(), now)}`}
        </Line>
        {report.restarts > 0 && <Line name="Restarted after a reset">{count(report.restarts)}</Line>}
      </dl>
      <p className="mt-3 text-xs text-pretty text-faint">
        Computed on this page: every row counts its changes in the database. A number that never came is lost, one that came twice is doubled, one that came after a later
        one is out of order.
      </p>
    </div>
  );
}

function Figure({ name, value, ...rest }: { name: string; value: number; "data-testid": string }) {
  return (
    <div className={classes("rounded-lg border px-2.5 py-2", value === 0 ? "bg-subtle/60" : "border-failed/40 bg-failed/8")}>
      <dt className="truncate text-xs text-muted">{name}</dt>
      <dd {...rest} className={classes("text-lg leading-6 font-semibold tabular-nums", value !== 0 && "text-failed")}>{count(value)}</dd>
    </div>
  );
}

function Line({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div className="flex justify-between gap-4">
      <dt className="text-muted">{name}</dt>
      <dd className="text-right tabular-nums">{children}</dd>
    </div>
  );
}
