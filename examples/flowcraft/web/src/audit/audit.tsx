import { useClient } from "@flowcraft/realtime/react";
import { createContext, use, useEffect, useMemo, useSyncExternalStore, type ReactNode } from "react";
import { api } from "@/lib/api";
import { probe } from "@/lib/probe";
import { createAuditor, type Auditor, type Report } from "./auditor";

const Audit = createContext<Auditor | null>(null);

export function AuditProvider({ children }: { children: ReactNode }) {
  const client = useClient();
  const auditor = useMemo(() => createAuditor(client, api.audit), [client]);
  useEffect(() => {
    probe.audit = auditor.verdict;
    return auditor.start();
  }, [auditor]);
  return <Audit value={auditor}>{children}</Audit>;
}

function useAuditor(): Auditor {
  const auditor = use(Audit);
  if (auditor === null) throw new Error("useAudit needs an <AuditProvider> above it");
  return auditor;
}

/** What the audit has found so far. */
export function useAudit(): Report {
  const auditor = useAuditor();
  return useSyncExternalStore(auditor.subscribe, auditor.get);
}

/** Audits a run's own channel while the component is on the page; `null` turns it off. */
export function useAuditedRun(runId: string | null): void {
  const auditor = useAuditor();
  useEffect(() => (runId === null ? undefined : auditor.follow(runId)), [auditor, runId]);
}
