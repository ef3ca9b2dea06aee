"""Rules of the generated TypeScript: the file exists and is up to date."""

from __future__ import annotations

from collections.abc import Iterator

from flowcraft.checking.facts import Facts, SourceLocation
from flowcraft.checking.findings import Fault
from flowcraft.codegen.typescript_meaning import difference


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
        found = difference(file.present, file.wanted)
        if found is not None:
            line, present, wanted = found
            yield Fault(
                SourceLocation(file.path, line),
                f"this file is out of date: {present} should be {wanted}; "
                f"run `flowcraft codegen typescript {facts.target} --out {file.path}`",
            )
