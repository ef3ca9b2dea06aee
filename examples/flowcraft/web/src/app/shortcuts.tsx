// The keyboard: "g" and a letter goes somewhere, "?" lists them.
import * as Dialog from "@radix-ui/react-dialog";
import { X } from "lucide-react";
import { Fragment, useEffect, useRef, useState } from "react";
import { navigate, paths } from "./router";
import { toggleTheme } from "./theme";

const SEQUENCE_MS = 1000;

const destinations: Readonly<Record<string, string>> = {
  d: paths.dashboard,
  f: paths.flows,
  r: paths.runs(),
  s: paths.system,
};

const keys: readonly { readonly keys: readonly string[]; readonly does: string }[] = [
  { keys: ["g", "d"], does: "Dashboard" },
  { keys: ["g", "f"], does: "Flows" },
  { keys: ["g", "r"], does: "Runs" },
  { keys: ["g", "s"], does: "System" },
  { keys: ["j", "k"], does: "Next, previous run in the list" },
  { keys: ["Enter"], does: "Open the run" },
  { keys: ["t"], does: "Light or dark" },
  { keys: ["?"], does: "These keys" },
];

export function ShortcutsDialog() {
  const [open, setOpen] = useState(false);
  const leader = useRef(0);

  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.metaKey || event.ctrlKey || event.altKey || event.defaultPrevented || isTyping(event.target)) return;
      const afterG = event.timeStamp - leader.current < SEQUENCE_MS;
      leader.current = event.key === "g" ? event.timeStamp : -SEQUENCE_MS;
      const to = destinations[event.key];
      if (afterG && to !== undefined) navigate(to);
      else if (event.key === "t") toggleTheme();
      else if (event.key === "?") setOpen(true);
      else if (event.key === "j" && document.activeElement?.closest("table") == null) {
        document.querySelector<HTMLAnchorElement>("a[data-row]")?.focus();
      }
    };
    leader.current = -SEQUENCE_MS;
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, []);

  return (
    <Dialog.Root open={open} onOpenChange={setOpen}>
      <Dialog.Portal>
        <Dialog.Overlay className="fixed inset-0 z-40 bg-black/40 backdrop-blur-[2px]" />
        <Dialog.Content
          aria-describedby={undefined}
          className="animate-in fixed top-1/2 left-1/2 z-50 w-[min(24rem,calc(100vw-2rem))] -translate-x-1/2 -translate-y-1/2 rounded-2xl border bg-surface p-5 shadow-lifted"
        >
          <div className="mb-3 flex items-center justify-between">
            <Dialog.Title className="text-sm font-semibold">Keys</Dialog.Title>
            <Dialog.Close aria-label="Close" className="-m-1 grid size-8 place-items-center rounded-md text-faint hover:bg-hover hover:text-text">
              <X aria-hidden className="size-4" />
            </Dialog.Close>
          </div>
          <dl className="grid grid-cols-[1fr_auto] items-center gap-y-2.5 text-[13px]">
            {keys.map((entry) => (
              <Fragment key={entry.does}>
                <dt className="text-muted">{entry.does}</dt>
                <dd className="flex justify-end gap-1">
                  {entry.keys.map((key) => (
                    <kbd key={key} className="min-w-6 rounded-md border border-line-strong bg-subtle px-1.5 text-center font-mono text-xs leading-[22px]">
                      {key}
                    </kbd>
                  ))}
                </dd>
              </Fragment>
            ))}
          </dl>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}
