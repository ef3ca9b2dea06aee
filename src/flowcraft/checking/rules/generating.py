"""Rules of the generated TypeScript: the file exists and is up to date."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from flowcraft.checking.facts import Facts, SourceLocation
from flowcraft.checking.findings import Fault


def can_be_read(facts: Facts) -> Iterator[Fault]:
    if facts.web is not None and facts.web.error is not None:
        yield Fault(
            SourceLocation(f"{facts.web.folder}/package.json", 1),
            (f"the TypeScript of {facts.web.folder} cannot be read: {facts.web.error}"),
        )


def can_be_parsed(facts: Facts) -> Iterator[Fault]:
    for file in facts.web.files if facts.web else ():
        for problem in file.broken:
            yield Fault(problem.place, f"this file is not valid TypeScript: {problem.text} fix it first")


def exists(facts: Facts) -> Iterator[Fault]:
    if facts.web is None or facts.web.error is not None or facts.generated:
        return
    folder = facts.web.folder
    yield Fault(
        SourceLocation(f"{folder}/package.json", 1),
        f"no file in {folder} was generated from the channels; run "
        f"`flowcraft codegen typescript {facts.target} --out {folder}/src/realtime.gen.ts`",
    )


def is_current(facts: Facts) -> Iterator[Fault]:
    for file in facts.generated:
        if file.present != file.wanted:
            line, present, wanted = _first_difference(file.present, file.wanted)
            yield Fault(
                SourceLocation(file.path, line),
                f"this file is out of date: {present} should be {wanted}; "
                f"run `flowcraft codegen typescript {facts.target} --out {file.path}`",
            )


def _first_difference(present: str, wanted: str) -> tuple[int, str, str]:
    lines = zip_longest(present.splitlines(), wanted.splitlines())
    for number, (here, there) in enumerate(lines, 1):
        if here != there:
            return number, _shown(here), _shown(there)
    return 1, "the line endings", "those of the generator"


def _shown(line: str | None) -> str:
    return "the end of the file" if line is None else f"`{line.strip()}`"
