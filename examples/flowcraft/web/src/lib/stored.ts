// A text that outlives the page, where the browser allows it.

export function recall(key: string): string | null {
  try {
    return localStorage.getItem(`flowcraft.${key}`);
  } catch {
    return null; // storage is blocked: the page works, it only forgets
  }
}

export function remember(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(`flowcraft.${key}`);
    else localStorage.setItem(`flowcraft.${key}`, value);
  } catch {
    // as above
  }
}
