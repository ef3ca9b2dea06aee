"""Findings: what a rule says about the facts, where, and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from flowcraft.checking.facts import Facts, SourceLocation

Severity: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What a rule says: where, if there is a file to point at, and what to do next."""

    place: SourceLocation | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the checklist. `id` is for ever; a warning may be meant so."""

    id: str
    severity: Severity
    title: str
    judge: Callable[[Facts], Iterable[Fault]]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not hold."""

    rule: Rule
    place: SourceLocation | None
    sentence: str


def findings(facts: Facts, rules: Iterable[Rule]) -> list[Finding]:
    """Return what the rules find, in the order of the files, what has no place last."""
    return sorted(_judged(facts, rules), key=lambda found: (*_position(found.place), found.rule.id))


def _judged(facts: Facts, rules: Iterable[Rule]) -> Iterator[Finding]:
    for rule in rules:
        for fault in rule.judge(facts):
            yield Finding(rule, fault.place, fault.sentence)


def _position(place: SourceLocation | None) -> tuple[bool, str, int, int]:
    return (True, "", 0, 0) if place is None else (False, place.path, place.line, place.column)
