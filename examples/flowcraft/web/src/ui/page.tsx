import type { ReactNode } from "react";

/** A page: its title, a sentence, its actions, and what it holds. */
export function Page({ title, lead, actions, children }: { title: string; lead?: ReactNode; actions?: ReactNode; children: ReactNode }) {
  return (
    <div className="mx-auto w-full max-w-6xl px-4 pt-6 pb-16 sm:px-6 lg:px-8 lg:pt-8">
      <title>{`${title} · FlowCraft`}</title>
      <div className="mb-5 flex items-start gap-4 sm:mb-6">
        <div className="min-w-0">
          <h1 className="text-xl font-semibold tracking-tight text-balance">{title}</h1>
          {lead !== undefined && <p className="mt-0.5 text-[13px] text-pretty text-muted">{lead}</p>}
        </div>
        {actions !== undefined && <div className="ml-auto flex shrink-0 items-center gap-2">{actions}</div>}
      </div>
      {children}
    </div>
  );
}
