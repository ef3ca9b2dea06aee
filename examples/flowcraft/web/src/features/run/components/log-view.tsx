import { useVirtualizer } from "@tanstack/react-virtual";
import { ArrowDown, ScrollText } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { classes } from "@/lib/classes";
import { clock, dateAndTime } from "@/lib/format";
import type { LogLine, StepUpdate } from "@/realtime.gen";
import { Button } from "@/ui/button";
import { Empty } from "@/ui/states";

const LINE_HEIGHT = 22;
const NEAR_THE_END = 40;

const levels: Readonly<Record<LogLine["level"], string>> = {
  info: "text-text",
  warning: "text-warning",
  error: "text-failed",
};

/** The log, following its end unless the reader has scrolled up. Only the lines in view are in the document. */
export function LogView({ lines, steps, live }: { lines: readonly LogLine[]; steps: readonly StepUpdate[]; live: boolean }) {
  const pane = useRef<HTMLDivElement>(null);
  const [following, setFollowing] = useState(true);
  const virtual = useVirtualizer({
    count: lines.length,
    getScrollElement: () => pane.current,
    estimateSize: () => LINE_HEIGHT,
    overscan: 20,
    getItemKey: (index) => lines[index]?.number ?? index,
  });
  const height = virtual.getTotalSize();

  useEffect(() => {
    if (following && pane.current !== null) pane.current.scrollTop = pane.current.scrollHeight;
  }, [following, lines.length, height]);

  if (lines.length === 0)
    return (
      <Empty icon={ScrollText} title={live ? "Waiting for the first line" : "Nothing was logged"}>
        {live ? "Lines appear here while the run works." : "This run ended before it wrote anything."}
      </Empty>
    );

  const names = new Map(steps.map((step) => [step.position, step.name]));
  return (
    <div className="relative">
      <div
        ref={pane}
        role="log"
        aria-label="Log of the run"
        aria-live="off"
        tabIndex={0}
        data-testid="log"
        data-lines={lines.length}
        onScroll={({ currentTarget: { scrollHeight, scrollTop, clientHeight } }) =>
          setFollowing(scrollHeight - scrollTop - clientHeight < NEAR_THE_END)
        }
        className="pane-scroll h-[26rem] overflow-y-auto overscroll-contain rounded-b-xl py-3 font-mono text-xs leading-[22px] -outline-offset-2 lg:h-[32rem]"
      >
        <div className="relative" style={{ height }}>
          {virtual.getVirtualItems().map((item) => {
            const line = lines[item.index];
            if (line === undefined) return null;
            return (
              <div
                key={item.key}
                ref={virtual.measureElement}
                data-index={item.index}
                data-testid="log-line"
                data-number={line.number}
                className="absolute inset-x-0 top-0 flex gap-3 px-4 hover:bg-hover/70 sm:px-5"
                style={{ transform: `translateY(${item.start}px)` }}
              >
                <span className="hidden w-7 shrink-0 text-right text-faint tabular-nums select-none sm:block">{line.number}</span>
                <time dateTime={line.at} title={dateAndTime(line.at)} className="shrink-0 text-faint tabular-nums">
                  {clock(line.at)}
                </time>
                <span className="hidden w-38 shrink-0 truncate text-muted xl:block">
                  {line.position !== null && line.position !== lines[item.index - 1]?.position && names.get(line.position)}
                </span>
                <span className={classes("min-w-0 flex-1 break-words whitespace-pre-wrap", levels[line.level])}>{line.text}</span>
              </div>
            );
          })}
        </div>
      </div>
      {!following && (
        <Button
          size="small"
          className="animate-in absolute right-4 bottom-4 shadow-lifted"
          onClick={() => setFollowing(true)}
        >
          <ArrowDown aria-hidden className="size-3.5" /> Latest
        </Button>
      )}
    </div>
  );
}
