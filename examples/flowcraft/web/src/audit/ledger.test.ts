import { describe, expect, it } from "vitest";
import { aRun, aStep, aLine } from "@/testing/builders";
import { Ledger } from "./ledger";

const known = { run_id: "a", number: 7, version: 3 };

function counts({ verdict }: Ledger) {
  return { lost: verdict.lost, doubled: verdict.doubled, outOfOrder: verdict.outOfOrder };
}

function ledgerAt(...versions: (typeof known)[]): Ledger {
  const ledger = new Ledger();
  ledger.compare(versions);
  return ledger;
}

describe("the ledger", () => {
  it("goes on from the versions it finds in the database", () => {
    const ledger = ledgerAt(known);
    ledger.record("run_update", aRun({ run_id: "a", number: 7, version: 4 }));
    expect(ledger.verdict).toEqual({ lost: 0, doubled: 0, outOfOrder: 0, checked: 1, sources: 1, compared: 1, restarts: 0 });
  });

  it("misses the first version of a run that is born under its eyes", () => {
    const ledger = ledgerAt(known);
    ledger.record("run_update", aRun({ run_id: "b", number: 8, version: 2 }));
    expect(counts(ledger)).toEqual({ lost: 1, doubled: 0, outOfOrder: 0 });
  });

  it("joins an older run that it did not know wherever it is", () => {
    const ledger = ledgerAt(known);
    ledger.record("run_update", aRun({ run_id: "old", number: 2, version: 9 }));
    ledger.record("run_update", aRun({ run_id: "old", number: 2, version: 11 }));
    expect(counts(ledger)).toEqual({ lost: 1, doubled: 0, outOfOrder: 0 });
  });

  it("misses a tail that never came, once, and a run that never came at all", () => {
    const ledger = ledgerAt(known);
    const truth = [known, { run_id: "b", number: 8, version: 2 }].map((row) => ({ ...row, version: row.version + 1 }));
    ledger.compare(truth);
    ledger.compare(truth);
    expect(counts(ledger)).toEqual({ lost: 1 + 3, doubled: 0, outOfOrder: 0 });
  });

  it("finds nothing wrong when the database says what arrived", () => {
    const ledger = ledgerAt(known);
    ledger.record("run_update", aRun({ run_id: "b", number: 8, version: 1 }));
    ledger.record("run_update", aRun({ run_id: "a", number: 7, version: 4 }));
    ledger.compare([
      { run_id: "b", number: 8, version: 1 },
      { run_id: "a", number: 7, version: 4 },
    ]);
    expect(counts(ledger)).toEqual({ lost: 0, doubled: 0, outOfOrder: 0 });
  });

  it("misses what should have followed an event that it saw before the first comparison", () => {
    const ledger = new Ledger();
    ledger.record("run_update", aRun({ run_id: "a", number: 7, version: 1 }));
    ledger.compare([known]);
    expect(counts(ledger)).toEqual({ lost: 2, doubled: 0, outOfOrder: 0 });
  });

  it("counts runs, steps and lines of each channel for themselves", () => {
    const ledger = new Ledger();
    ledger.record("run_update", aRun({ run_id: "a", version: 4 }));
    ledger.record("runs.a", aRun({ run_id: "a", version: 4 }));
    ledger.record("step_rows.a", aStep({ run_id: "a", position: 1, version: 2 }));
    ledger.record("step_rows.a", aStep({ run_id: "a", position: 2, version: 2 }));
    ledger.record("runs.a", aLine({ run_id: "a", number: 12 }));
    ledger.record("runs.a", aLine({ run_id: "a", number: 14 }));
    ledger.record("step_rows.a", aStep({ run_id: "a", position: 1, version: 2 }));
    expect(counts(ledger)).toEqual({ lost: 1, doubled: 1, outOfOrder: 0 });
  });

  it("goes on from the rows that were read, and begins again with those that are read again", () => {
    const ledger = new Ledger();
    ledger.join("step_rows.a", [aStep({ run_id: "a", position: 1, version: 4 })]);
    ledger.record("step_rows.a", aStep({ run_id: "a", position: 1, version: 6 }));
    expect(counts(ledger)).toEqual({ lost: 1, doubled: 0, outOfOrder: 0 });
    ledger.join("step_rows.a", [aStep({ run_id: "a", position: 1, version: 9 })]);
    ledger.record("step_rows.a", aStep({ run_id: "a", position: 1, version: 10 }));
    expect(counts(ledger)).toEqual({ lost: 1, doubled: 0, outOfOrder: 0 });
  });

  it("joins anew after it left a channel", () => {
    const ledger = new Ledger();
    ledger.record("runs.a", aLine({ run_id: "a", number: 1 }));
    ledger.leave("runs.a");
    ledger.record("runs.a", aLine({ run_id: "a", number: 90 }));
    expect(counts(ledger)).toEqual({ lost: 0, doubled: 0, outOfOrder: 0 });
  });

  it("expects nothing after a reset, and says that there was one", () => {
    const ledger = ledgerAt(known);
    ledger.restart();
    ledger.record("run_update", aRun({ run_id: "a", number: 7, version: 2 }));
    expect(ledger.verdict).toEqual({ lost: 0, doubled: 0, outOfOrder: 0, checked: 1, sources: 1, compared: null, restarts: 1 });
  });
});
