"""Compare the dependencies of pyproject.toml and of the lock with the table of floors, without a network."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

ROOT = Path(__file__).parents[1]
DEVELOPMENT = {"dev"}
"""Extras of tools, not of what an application runs."""
_REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?>=([0-9.]+)")
_LOCKED = re.compile(r"^([A-Za-z0-9_.-]+)==([0-9][^ ;]*)", re.MULTILINE)


def normal(name: str) -> str:
    """Return a name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:4])


def requirements(project: Mapping[str, object]) -> Iterator[tuple[str, str | None]]:
    """Yield the name and the floor of each dependency that an application may install."""
    dependencies = [*cast("list[str]", project["dependencies"])]
    extras = cast("dict[str, list[str]]", project["optional-dependencies"])
    for extra, listed in extras.items():
        dependencies += [] if extra in DEVELOPMENT else listed
    for text in dependencies:
        match = _REQUIREMENT.match(text)
        yield (match[1], match[2]) if match else (re.split(r"[\[ ;<>=!~]", text)[0], None)


def faults(project: Mapping[str, object], lock: str, floors: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return what does not agree, each with what to do."""
    table = {normal(name): entry for name, entry in floors.items()}
    found: list[str] = []
    for name, floor in requirements(project):
        entry = table.get(normal(name))
        if entry is None:
            found.append(f"{name} is not in scripts/floors.toml; add its floor and the reason")
        elif floor is None or release(floor) < release(entry["floor"]):
            found.append(f"{name}>={floor} admits less than {entry['floor']}: {entry['reason']}")
    locked = {normal(name): version for name, version in _LOCKED.findall(lock)}
    for name, entry in table.items():
        if name in locked and release(locked[name]) < release(entry["floor"]):
            found.append(f"the lock has {name} {locked[name]}, below {entry['floor']}; run make lock")
        if not entry.get("reason"):
            found.append(f"{name} has no reason in scripts/floors.toml")
    return found


def main() -> int:
    """Print what does not agree."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    floors = tomllib.loads((ROOT / "scripts/floors.toml").read_text("utf-8"))
    found = faults(project, (ROOT / "requirements.lock").read_text("utf-8"), floors)
    for fault in found:
        print(fault)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
