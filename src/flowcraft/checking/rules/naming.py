"""Rules of names: a feature's hooks follow the convention for folders, files and names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from flowcraft.checking.facts import Facts, SourceLocation, WebFile
from flowcraft.checking.findings import Fault


def hooks_are_in_their_folder(facts: Facts) -> Iterator[Fault]:
    subscriptions = facts.web.subscriptions if facts.web else ()
    by_file = {one.place.path: one for one in reversed(subscriptions) if one.via_hook}
    for path, one in by_file.items():
        if not _in_hooks_folder(path):
            yield Fault(
                one.place,
                f"{one.how}(...) is outside a feature's hooks; move it into a hook in "
                "features/<feature>/hooks/use-<feature>.ts, and call that hook here",
            )


def file_is_named_after_its_hook(facts: Facts) -> Iterator[Fault]:
    for file in _files_that_subscribe(facts):
        stem = PurePath(file.path).stem
        if _in_hooks_folder(file.path) and not _is_hook_file(stem):
            yield Fault(
                SourceLocation(file.path, 1),
                f"a hook's file is called use-<feature>.ts, in lower case with dashes; rename {stem} "
                f"to {_renamed(stem)}",
            )


def hook_is_named_after_its_file(facts: Facts) -> Iterator[Fault]:
    for file in _files_that_subscribe(facts):
        stem = PurePath(file.path).stem
        if not _in_hooks_folder(file.path) or not _is_hook_file(stem):
            continue
        first, *others = stem.split("-")
        wanted = first + "".join(word.capitalize() for word in others)
        if wanted not in [export.name for export in file.exports]:
            there = ", ".join(export.name for export in file.exports) or "nothing"
            place = file.exports[0].place if file.exports else SourceLocation(file.path, 1)
            yield Fault(
                place,
                f"{PurePath(file.path).name} exports {there}, not {wanted}; rename the hook after its file",
            )


def _files_that_subscribe(facts: Facts) -> Iterator[WebFile]:
    if facts.web is None:
        return
    subscribing = {one.place.path for one in facts.web.subscriptions if one.via_hook}
    yield from (file for file in facts.web.files if file.path in subscribing)


def _in_hooks_folder(path: str) -> bool:
    parts = PurePath(path).parts
    return len(parts) > 3 and parts[-2] == "hooks" and parts[-4] == "features"


def _is_hook_file(stem: str) -> bool:
    words = stem.split("-")
    return (
        len(words) > 1
        and words[0] == "use"
        and all(word.isalnum() and word == word.lower() for word in words)
    )


def _renamed(stem: str) -> str:
    spaced = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in stem).strip("-")
    words = [word for word in spaced.replace("_", "-").split("-") if word]
    return "-".join(words if words[:1] == ["use"] else ["use", *words])
