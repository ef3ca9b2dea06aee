"""Outcomes: what was found of each invariant, as lines, as JUnit XML and as the table of the docs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from faults.stage import Stage

Figure: TypeAlias = int | float | str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether one invariant held, with its figures."""

    invariant: str
    passed: bool
    figures: Mapping[str, Figure]
    notes: tuple[str, ...] = ()
    skipped: bool = False
    late: bool = False
    """Only times are at fault."""

    @property
    def word(self) -> str:
        """`pass`, `late` where only times are at fault, `FAIL` or `skip`."""
        if self.skipped:
            return "skip"
        if self.late:
            return "late"
        return "pass" if self.passed else "FAIL"

    def __str__(self) -> str:
        figures = " ".join(f"{name}={_shown(value)}" for name, value in self.figures.items())
        return f"{self.invariant} {self.word} {figures}".rstrip()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run that inflicts faults and judges the invariants it names."""

    name: str
    invariants: tuple[str, ...]
    run: Callable[[Stage], Awaitable[list[Outcome]]]


@dataclass(slots=True)
class Register:
    """The scenarios, in the order in which they run."""

    scenarios: list[Scenario] = field(default_factory=list[Scenario])

    def scenario(
        self, *invariants: str
    ) -> Callable[[Callable[[Stage], Awaitable[list[Outcome]]]], Callable[[Stage], Awaitable[list[Outcome]]]]:
        """Register a scenario for the invariants it judges."""

        def register(
            run: Callable[[Stage], Awaitable[list[Outcome]]],
        ) -> Callable[[Stage], Awaitable[list[Outcome]]]:
            name = getattr(run, "__name__", repr(run)).replace("_", " ")
            self.scenarios.append(Scenario(name, invariants, run))
            return run

        return register


register = Register()
scenario = register.scenario


def judged(
    invariant: str,
    conditions: Mapping[str, bool],
    figures: Mapping[str, Figure],
    times: Mapping[str, bool] | None = None,
) -> Outcome:
    """An outcome that holds if every condition does; those that do not are named.

    `times` are conditions that another load on the machine can break; `counts_only` looks past them.
    """
    failed = tuple(f"not so: {name}" for name, holds in conditions.items() if not holds)
    late = tuple(f"not in time: {name}" for name, holds in (times or {}).items() if not holds)
    return Outcome(invariant, not failed and not late, figures, failed + late, late=bool(late and not failed))


def merged(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """One outcome per invariant, which holds if it held in every scenario.

    Counts add up; of measures the worst is kept.
    """
    by_name: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_name.setdefault(outcome.invariant, []).append(outcome)
    return [_merge(name, by_name[name]) for name in sorted(by_name, key=_number)]


def _merge(name: str, found: Sequence[Outcome]) -> Outcome:
    figures: dict[str, Figure] = {}
    for outcome in found:
        for key, value in outcome.figures.items():
            known = figures.get(key)
            if isinstance(value, float) and isinstance(known, float):
                figures[key] = max(value, known)
            elif isinstance(value, int) and isinstance(known, int):
                figures[key] = value + known
            else:
                figures[key] = value
    ran = [outcome for outcome in found if not outcome.skipped]
    notes = tuple(note for outcome in found for note in outcome.notes)
    late = all(outcome.passed or outcome.late for outcome in ran)
    passed = all(outcome.passed for outcome in ran)
    return Outcome(name, passed, figures, notes, skipped=not ran, late=late and not passed)


def _number(invariant: str) -> int:
    return int(invariant[1:])


def counts_only(outcome: Outcome) -> Outcome:
    """The outcome where a machine that others use too must not decide: what was late has held."""
    return replace(outcome, passed=outcome.passed or outcome.late)


def write_junit(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Write what CI adds up."""
    suite = ET.Element("testsuite", name="faults")
    counts = {"tests": 0, "failures": 0, "skipped": 0}
    for outcome in outcomes:
        case = ET.SubElement(suite, "testcase", classname="faults", name=outcome.invariant)
        counts["tests"] += 1
        if outcome.skipped:
            counts["skipped"] += 1
            ET.SubElement(case, "skipped", message="; ".join(outcome.notes))
        elif not outcome.passed:
            counts["failures"] += 1
            ET.SubElement(case, "failure", message=str(outcome)).text = "\n".join(outcome.notes)
    for name, count in counts.items():
        suite.set(name, str(count))
    path.parent.mkdir(parents=True, exist_ok=True)
    ET.ElementTree(suite).write(path, encoding="unicode", xml_declaration=True)


def _shown(value: Figure) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
