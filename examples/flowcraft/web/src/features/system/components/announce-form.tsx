import { Megaphone } from "lucide-react";
import { useId, useState, type SyntheticEvent } from "react";
import { classes } from "@/lib/classes";
import { capitalized } from "@/lib/format";
import { Button } from "@/ui/button";
import { Segments } from "@/ui/segments";
import { useAnnounce } from "../hooks/use-announce";
import { levelLook, type Level } from "./announcement";

const LONGEST = 280;
const levels = (["info", "warning", "critical"] as const).map((value) => {
  const { icon: Icon, color } = levelLook[value];
  return {
    value,
    label: (
      <>
        <Icon aria-hidden className={classes("size-3.5", color)} /> {capitalized(value)}
      </>
    ),
  };
});

export function AnnounceForm() {
  const { sending, announce } = useAnnounce();
  const [text, setText] = useState("");
  const [level, setLevel] = useState<Level>("info");
  const id = useId();
  const ready = text.trim() !== "" && text.length <= LONGEST;

  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    if (!ready) return;
    void announce(text.trim(), level).then((done) => {
      if (done) setText("");
    });
  };

  return (
    <form onSubmit={submit} data-testid="announce-form" className="p-4 sm:p-5">
      <label htmlFor={id} className="text-[13px] font-medium">
        Announce
      </label>
      <textarea
        id={id}
        name="text"
        rows={3}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => event.key === "Enter" && (event.metaKey || event.ctrlKey) && submit(event)}
        placeholder="Maintenance tonight at 22:00. Runs that wait go on afterwards."
        aria-invalid={text.length > LONGEST}
        aria-describedby={`${id}-hint`}
        className="mt-1.5 block w-full resize-y rounded-lg border border-line-strong bg-page px-3 py-2 text-base placeholder:text-faint focus-visible:border-accent focus-visible:outline-1 focus-visible:outline-offset-0 sm:text-sm"
      />
      <p id={`${id}-hint`} className="mt-1 flex justify-between gap-3 text-xs text-faint">
        <span>It appears on every open page at once.</span>
        <span className={classes("tabular-nums", text.length > LONGEST && "font-medium text-failed")}>
          {text.length}/{LONGEST}
        </span>
      </p>
      {sending.state === "refused" && (
        <p role="alert" className="mt-2 text-[13px] text-failed">
          {sending.reason}
        </p>
      )}
      <div className="mt-3 flex flex-wrap items-center justify-between gap-3">
        <Segments label="Level" segments={levels} value={level} onChange={setLevel} />
        <Button type="submit" look="primary" data-testid="announce" disabled={!ready} busy={sending.state === "sending"}>
          <Megaphone aria-hidden className="size-4" /> Announce
        </Button>
      </div>
    </form>
  );
}
