"""Requests: the channel that somebody wants, and what is known about the project that gets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flowcraft.scaffolding.naming import Names


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an event: its name, and its type as it is written in Python."""

    name: str
    annotation: str


@dataclass(frozen=True, slots=True)
class RequestedTable:
    """Pattern A: a table, and the column of each field that is called differently."""

    table: str
    columns: Mapping[str, str]
    on: tuple[str, ...] = ("insert", "update")


@dataclass(frozen=True, slots=True)
class ChannelRequest:
    """A channel to be added. Without a `table` a `service` states its events (pattern B)."""

    names: Names
    event: str
    fields: tuple[Field, ...]
    feature: str
    table: RequestedTable | None = None
    service: str | None = None
    parameter_type: str = "UUID"


@dataclass(frozen=True, slots=True)
class Project:
    """Where the things of a project are. `root` is where its modules are imported from."""

    root: Path
    channels: Path
    channels_object: str
    events: Path
    types: Path
    tests: Path
    services: Path | None = None
    migrations: Path | None = None
    alembic: Path | None = None
    alias: bool = False
    """`@/` stands for the folder of the generated types."""
    dom: str = "happy-dom"
    """What tests of the page have for a browser."""
    react: bool = True
    """There are hooks; a page without a package.json has none."""

    def module(self, path: Path) -> str:
        """Return the name under which a file is imported."""
        parts = path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def target(self) -> str:
        """The channels as other commands take them."""
        return f"{self.module(self.channels)}:{self.channels_object}"


@dataclass(frozen=True, slots=True)
class Sample:
    """A value that fits a field: as Python writes it, with what that imports, and as JSON."""

    name: str
    expression: str
    json: object
    imports: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """What the project would be with the channel declared, found by importing it so."""

    typescript: str
    samples: tuple[Sample, ...]
    tag: Mapping[str, str]
    trigger: str | None = None
    """The statements that make the triggers of the channel's source."""
    row: Mapping[str, object] = field(default_factory=dict[str, object])
    """A row of the source's table that becomes the samples."""
    table_like: str = ""
    """The statement that makes a table like it, for tests."""
