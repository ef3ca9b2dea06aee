"""Reports: findings as text, as JSON, and as the annotations of a GitHub workflow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from flowcraft.checking.findings import Finding, Rule


@dataclass(frozen=True, slots=True)
class Outcome:
    """The findings of a run, the number of checks, and what was skipped."""

    findings: Sequence[Finding]
    checked: int
    skipped: Sequence[str]


def as_text(outcome: Outcome) -> list[str]:
    """Return a line for each finding, and a summary line."""
    return [
        *map(_line, outcome.findings),
        *(f"not checked: {reason}" for reason in outcome.skipped),
        _sum(outcome),
    ]


def as_json(outcome: Outcome) -> str:
    """Return one object: `findings`, `checked`, `skipped`."""
    document = {
        "findings": [_record(found) for found in outcome.findings],
        "checked": outcome.checked,
        "skipped": list(outcome.skipped),
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def as_github(outcome: Outcome) -> list[str]:
    """Return a workflow command for each finding, and the last line of the text."""
    skipped = [
        f"::notice title=flowcraft check::{_escaped('not checked: ' + reason)}" for reason in outcome.skipped
    ]
    return [*map(_annotation, outcome.findings), *skipped, _sum(outcome)]


def as_markdown(rules: Iterable[Rule]) -> str:
    """Return the table of the checks."""
    rows = [f"| {rule.id} | {rule.severity} | {rule.title.replace('|', chr(92) + '|')} |" for rule in rules]
    return "\n".join(["| check | severity | requirement |", "|---|---|---|", *rows]) + "\n"


def _line(found: Finding) -> str:
    place = found.place
    where = "" if place is None else f"{place.path}:{place.line}:{place.column}: "
    return f"{where}{found.rule.severity} {found.rule.id}: {found.sentence}"


def _record(found: Finding) -> dict[str, object]:
    place = found.place
    return {
        "id": found.rule.id,
        "severity": found.rule.severity,
        "title": found.rule.title,
        "file": None if place is None else place.path,
        "line": None if place is None else place.line,
        "column": None if place is None else place.column,
        "message": found.sentence,
    }


def _annotation(found: Finding) -> str:
    place = found.place
    where = (
        []
        if place is None
        else [f"file={_property(place.path)}", f"line={place.line}", f"col={place.column}"]
    )
    title = _property(f"{found.rule.id} {found.rule.title}")
    return f"::{found.rule.severity} {','.join([*where, f'title={title}'])}::{_escaped(found.sentence)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _sum(outcome: Outcome) -> str:
    if not outcome.findings:
        return f"no problems found in {outcome.checked} checks"
    counts = [
        _counted(sum(found.rule.severity == severity for found in outcome.findings), severity)
        for severity in ("error", "warning")
    ]
    found = " and ".join(count for count in counts if count)
    return f"{found} in {outcome.checked} checks; `flowcraft check --list` lists all checks"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}" if number else ""
