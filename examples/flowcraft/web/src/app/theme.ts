// Light or dark: the system's choice until the reader makes one. `index.html` applies it before the first paint.
import { useSyncExternalStore } from "react";
import { remember } from "@/lib/stored";

export type Theme = "light" | "dark";

const CHANGED = "flowcraft:theme";

export function currentTheme(): Theme {
  return document.documentElement.dataset["theme"] === "dark" ? "dark" : "light";
}

export function toggleTheme(): void {
  const theme = currentTheme() === "dark" ? "light" : "dark";
  document.documentElement.dataset["theme"] = theme;
  remember("theme", theme);
  window.dispatchEvent(new Event(CHANGED));
}

function follow(changed: () => void): () => void {
  window.addEventListener(CHANGED, changed);
  return () => window.removeEventListener(CHANGED, changed);
}

export function useTheme(): Theme {
  return useSyncExternalStore(follow, currentTheme);
}
