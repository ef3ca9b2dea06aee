// Toasts: a sentence that comes and goes, for what happened elsewhere or went wrong.
import { CircleAlert, CircleCheck, Info, X, type LucideIcon } from "lucide-react";
import { createContext, use, useCallback, useMemo, useRef, useState, type ReactNode } from "react";
import { classes } from "@/lib/classes";
import { Link } from "./router";

export interface Toast {
  readonly tone: "good" | "bad" | "neutral";
  readonly title: string;
  readonly text?: string;
  readonly link?: { readonly to: string; readonly label: string };
}

type Shown = Toast & { readonly key: number };

const SHOWN_MS = 6000;
const SHOWN_AT_ONCE = 3;
const Toasts = createContext<(toast: Toast) => void>(() => undefined);

/** Shows a toast at the edge of the page. The function is stable. */
export function useToast(): (toast: Toast) => void {
  return use(Toasts);
}

const looks: Readonly<Record<Toast["tone"], { icon: LucideIcon; color: string }>> = {
  good: { icon: CircleCheck, color: "text-succeeded" },
  bad: { icon: CircleAlert, color: "text-failed" },
  neutral: { icon: Info, color: "text-accent" },
};

export function ToastProvider({ children }: { children: ReactNode }) {
  const [shown, setShown] = useState<readonly Shown[]>([]);
  const next = useRef(0);

  const dismiss = useCallback((key: number) => setShown((toasts) => toasts.filter((toast) => toast.key !== key)), []);
  const show = useCallback(
    (toast: Toast) => {
      const key = next.current++;
      setShown((toasts) => [...toasts, { ...toast, key }].slice(-SHOWN_AT_ONCE));
      setTimeout(() => dismiss(key), SHOWN_MS);
    },
    [dismiss],
  );

  const list = useMemo(
    () => shown.map((toast) => <ToastCard key={toast.key} toast={toast} onDismiss={() => dismiss(toast.key)} />),
    [shown, dismiss],
  );
  return (
    <Toasts value={show}>
      {children}
      <div
        role="status"
        aria-live="polite"
        className="pointer-events-none fixed inset-x-4 bottom-[calc(4.5rem+env(safe-area-inset-bottom))] z-50 flex flex-col items-end gap-2 md:right-6 md:bottom-6 md:left-auto"
      >
        {list}
      </div>
    </Toasts>
  );
}

function ToastCard({ toast, onDismiss }: { toast: Toast; onDismiss: () => void }) {
  const { icon: Icon, color } = looks[toast.tone];
  return (
    <div
      data-testid="toast"
      data-tone={toast.tone}
      className="animate-in pointer-events-auto flex w-full max-w-sm gap-3 rounded-xl border bg-surface p-3 pl-3.5 shadow-lifted"
    >
      <Icon aria-hidden className={classes("mt-0.5 size-4 shrink-0", color)} />
      <div className="min-w-0 flex-1">
        <p className="text-[13px] font-medium">{toast.title}</p>
        {toast.text !== undefined && <p className="mt-0.5 text-[13px] text-pretty text-muted">{toast.text}</p>}
        {toast.link !== undefined && (
          <Link to={toast.link.to} onClick={onDismiss} className="mt-1 inline-block text-[13px] font-medium text-accent hover:underline">
            {toast.link.label}
          </Link>
        )}
      </div>
      <button
        type="button"
        aria-label="Dismiss"
        onClick={onDismiss}
        className="-m-1 grid size-7 place-items-center rounded-md text-faint hover:bg-hover hover:text-text"
      >
        <X aria-hidden className="size-3.5" />
      </button>
    </div>
  );
}
