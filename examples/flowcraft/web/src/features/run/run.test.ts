import { expect, it } from "vitest";
import { aLine, aRun, aStep } from "@/testing/builders";
import { LINES_KEPT, withRunEvent } from "./run";

const details = { run: aRun(), steps: [aStep({ position: 1 }), aStep({ position: 3 })], log: [aLine({ number: 1 })] };

it("applies each kind of event to its part and leaves the others as they are", () => {
  const run = aRun({ status: "running", version: 2 });
  expect(withRunEvent(details, run)).toEqual({ ...details, run });

  const step = aStep({ position: 3, status: "running", version: 2 });
  expect(withRunEvent(details, step)).toEqual({ ...details, steps: [details.steps[0], step] });

  const line = aLine({ number: 2 });
  expect(withRunEvent(details, line)).toEqual({ ...details, log: [aLine({ number: 1 }), line] });
});

it("puts a step it does not know where its position belongs", () => {
  const step = aStep({ position: 2 });
  expect(withRunEvent(details, step).steps.map(({ position }) => position)).toEqual([1, 2, 3]);
});

it("keeps the end of a long log", () => {
  const log = Array.from({ length: LINES_KEPT }, (_, index) => aLine({ number: index + 1 }));
  const kept = withRunEvent({ ...details, log }, aLine({ number: LINES_KEPT + 1 })).log;
  expect([kept.length, kept[0]?.number, kept.at(-1)?.number]).toEqual([LINES_KEPT, 2, LINES_KEPT + 1]);
});
