import { expect, it } from "vitest";
import { aLine, aRun } from "@/testing/builders";
import { LINES_KEPT, withRunEvent } from "./run";

const details = { run: aRun(), log: [aLine({ number: 1 })] };

it("applies each kind of event to its part and leaves the other as it is", () => {
  const run = aRun({ status: "running", version: 2 });
  expect(withRunEvent(details, run)).toEqual({ ...details, run });

  const line = aLine({ number: 2 });
  expect(withRunEvent(details, line)).toEqual({ ...details, log: [aLine({ number: 1 }), line] });
});

it("keeps the end of a long log", () => {
  const log = Array.from({ length: LINES_KEPT }, (_, index) => aLine({ number: index + 1 }));
  const kept = withRunEvent({ ...details, log }, aLine({ number: LINES_KEPT + 1 })).log;
  expect([kept.length, kept[0]?.number, kept.at(-1)?.number]).toEqual([LINES_KEPT, 2, LINES_KEPT + 1]);
});
