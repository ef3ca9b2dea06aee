import * as Tooltip from "@radix-ui/react-tooltip";
import type { ReactNode } from "react";

/** A word about the control inside; it never holds what cannot be learned elsewhere. */
export function Tip({ text, children }: { text: ReactNode; children: ReactNode }) {
  return (
    <Tooltip.Root>
      <Tooltip.Trigger asChild>{children}</Tooltip.Trigger>
      <Tooltip.Portal>
        <Tooltip.Content
          sideOffset={6}
          collisionPadding={8}
          className="animate-in z-50 max-w-64 rounded-md bg-text px-2 py-1 text-xs font-medium text-page shadow-lifted"
        >
          {text}
        </Tooltip.Content>
      </Tooltip.Portal>
    </Tooltip.Root>
  );
}
