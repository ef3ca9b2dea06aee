import type { PresenceSnapshot } from "@flowcraft/realtime/presence";
import { plural } from "@/lib/format";
import type { Visitor } from "@/realtime.gen";
import { Tip } from "@/ui/tip";
import { hue, initials, isOwn } from "../visitor";

const MOST = 5;

/** Who looks at this page now, this browser among them; of many, the server sends how many, and no list. */
export function Watchers({ members, count, fresh }: Omit<PresenceSnapshot<never>, "members"> & { members: readonly Visitor[] }) {
  if (count === 0) return null;
  const names = members.map(({ id, name }) => (isOwn(id) ? `${name} (you)` : name));
  const shown = Math.min(members.length, MOST);
  const label = [`${plural(count, "visitor")} on this page`, names.join(", ")].filter(Boolean).join(": ");
  return (
    <Tip text={names.join(", ") || label}>
      <button
        type="button"
        data-testid="watchers"
        data-count={count}
        data-fresh={fresh}
        className={`flex items-center rounded-full ${fresh ? "" : "grayscale"}`}
      >
        <span className="sr-only">{label}</span>
        {members.slice(0, shown).map(({ id, name }) => (
          <span
            key={id}
            aria-hidden
            data-testid="watcher"
            className="-ml-1.5 grid size-7 place-items-center rounded-full border-2 border-page text-[11px] font-semibold text-white first:ml-0"
            style={{ backgroundColor: `hsl(${hue(id)} 55% 27%)` }}
          >
            {initials(name)}
          </span>
        ))}
        {count > shown && (
          <span aria-hidden className="ml-1 text-xs font-medium text-muted tabular-nums">
            {`${shown ? "+" : ""}${count - shown}`}
          </span>
        )}
      </button>
    </Tip>
  );
}
