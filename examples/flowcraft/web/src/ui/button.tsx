import type { ComponentProps } from "react";
import { LoaderCircle } from "lucide-react";
import { classes } from "@/lib/classes";

const looks = {
  primary: "bg-accent text-on-accent shadow-card hover:bg-accent-strong border border-transparent",
  secondary: "bg-surface text-text shadow-card border border-line-strong hover:bg-hover",
  quiet: "text-muted border border-transparent hover:bg-hover hover:text-text",
  danger: "bg-surface text-failed shadow-card border border-line-strong hover:bg-failed/8 hover:border-failed/40",
} as const;

const sizes = {
  small: "h-8 gap-1.5 px-2.5 text-[13px]",
  medium: "h-9 gap-2 px-3.5 text-sm",
  icon: "size-9 justify-center",
} as const;

type Props = ComponentProps<"button"> & {
  readonly look?: keyof typeof looks;
  readonly size?: keyof typeof sizes;
  /** Shows that something is under way; the button keeps its width and takes no second click. */
  readonly busy?: boolean;
};

export function Button({ look = "secondary", size = "medium", busy = false, className, children, disabled, ...rest }: Props) {
  return (
    <button
      type="button"
      {...rest}
      disabled={disabled === true || busy}
      aria-busy={busy}
      className={classes(
        "relative inline-flex shrink-0 items-center justify-center rounded-lg font-medium whitespace-nowrap transition-colors select-none",
        "disabled:cursor-not-allowed disabled:opacity-55 aria-busy:cursor-progress",
        looks[look],
        sizes[size],
        className,
      )}
    >
      {busy && <LoaderCircle aria-hidden className="absolute size-4 animate-spin" />}
      <span className={classes("inline-flex items-center gap-[inherit]", busy && "invisible")}>{children}</span>
    </button>
  );
}
