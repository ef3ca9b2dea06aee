// Times, durations and counts as people read them. Everything takes `now` in milliseconds, so that all of a page ticks together.

/** "0.4 s", "12 s", "3 m 04 s", "2 h 05 m". */
export function duration(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} m`;
}

/** "now", "12 s ago", "3 m ago", "2 h ago", "5 d ago"; a clock that is ahead reads as "now". */
export function ago(at: string, now: number): string {
  const seconds = Math.floor((now - Date.parse(at)) / 1000);
  if (seconds < 3) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/** How long something has been, or was, going on; null before it began. */
export function elapsed(span: { readonly started_at: string | null; readonly finished_at: string | null }, now: number): number | null {
  if (span.started_at === null) return null;
  const end = span.finished_at === null ? now : Date.parse(span.finished_at);
  return Math.max(0, end - Date.parse(span.started_at));
}

const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dateFormat = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const countFormat = new Intl.NumberFormat("en-US");

/** "20:13:07" in the reader's time zone. */
export function clock(at: string): string {
  return clockFormat.format(Date.parse(at));
}

/** "22 Nov 2026, 20:13:07" in the reader's time zone. */
export function dateAndTime(at: string): string {
  return dateFormat.format(Date.parse(at));
}

export function count(value: number): string {
  return countFormat.format(value);
}

export function percent(share: number): string {
  const hundredths = share * 100;
  return `${hundredths >= 99.95 || hundredths === 0 ? hundredths.toFixed(0) : hundredths.toFixed(1)}%`;
}

/** "1 run", "2 runs". */
export function plural(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

export function capitalized(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}
