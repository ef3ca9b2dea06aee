// The router: the address is the state. Five pages need no library.
import { useSyncExternalStore, type ComponentProps, type MouseEvent, type ReactNode } from "react";
import { isRunFilter, type RunFilter } from "@/features/runs/runs";

export type Route =
  | { readonly page: "dashboard" }
  | { readonly page: "flows" }
  | { readonly page: "runs"; readonly filter: RunFilter }
  | { readonly page: "run"; readonly runId: string }
  | { readonly page: "system" }
  | { readonly page: "unknown" };

/** The page an address such as `/runs?status=failed` names. */
export function routeOf(address: string): Route {
  const url = new URL(address, "http://page");
  const [first, second, ...rest] = url.pathname.split("/").filter(Boolean);
  if (rest.length > 0) return { page: "unknown" };
  if (second !== undefined) return first === "runs" ? { page: "run", runId: second } : { page: "unknown" };
  switch (first) {
    case undefined:
      return { page: "dashboard" };
    case "flows":
    case "system":
      return { page: first };
    case "runs": {
      const status = url.searchParams.get("status");
      return { page: "runs", filter: isRunFilter(status) ? status : "all" };
    }
    default:
      return { page: "unknown" };
  }
}

export const paths = {
  dashboard: "/",
  flows: "/flows",
  runs: (filter: RunFilter = "all") => (filter === "all" ? "/runs" : `/runs?status=${filter}`),
  run: (runId: string) => `/runs/${encodeURIComponent(runId)}`,
  system: "/system",
} as const;

const CHANGED = "flowcraft:navigate";

function follow(changed: () => void): () => void {
  window.addEventListener("popstate", changed);
  window.addEventListener(CHANGED, changed);
  return () => {
    window.removeEventListener("popstate", changed);
    window.removeEventListener(CHANGED, changed);
  };
}

/** The address within the site, `/runs?status=failed`. */
export function useAddress(): string {
  return useSyncExternalStore(follow, () => location.pathname + location.search);
}

export function navigate(to: string, how: "push" | "replace" = "push"): void {
  if (to === location.pathname + location.search) return;
  if (how === "push") {
    history.pushState(null, "", to);
    window.scrollTo(0, 0);
  } else {
    history.replaceState(null, "", to);
  }
  window.dispatchEvent(new Event(CHANGED));
}

/** A link within the site; a modified click still opens a new tab. */
export function Link({ to, children, ...rest }: { to: string; children: ReactNode } & Omit<ComponentProps<"a">, "href">): ReactNode {
  const follow = (event: MouseEvent<HTMLAnchorElement>) => {
    rest.onClick?.(event);
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (event.defaultPrevented || !plain) return;
    event.preventDefault();
    navigate(to);
  };
  return (
    <a {...rest} href={to} onClick={follow}>
      {children}
    </a>
  );
}
