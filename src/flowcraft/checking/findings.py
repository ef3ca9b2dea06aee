"""Findings: violations of rules, each with its place and the next step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from flowcraft.checking.facts import Facts, SourceLocation

Severity: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One violation, as a rule reports it: its place, if in a file, and a sentence with the next step."""

    place: SourceLocation | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the checklist. An `id` is never reused; a warning may be intended by the developer."""

    id: str
    severity: Severity
    title: str
    judge: Callable[[Facts], Iterable[Fault]]


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation of a rule."""

    rule: Rule
    place: SourceLocation | None
    sentence: str


def findings(facts: Facts, rules: Iterable[Rule]) -> list[Finding]:
    """Return the violations of the rules, ordered by place; those without a place come last."""
    return sorted(_judged(facts, rules), key=lambda found: (*_position(found.place), found.rule.id))


def _judged(facts: Facts, rules: Iterable[Rule]) -> Iterator[Finding]:
    for rule in rules:
        for fault in rule.judge(facts):
            yield Finding(rule, fault.place, fault.sentence)


def _position(place: SourceLocation | None) -> tuple[bool, str, int, int]:
    return (True, "", 0, 0) if place is None else (False, place.path, place.line, place.column)
