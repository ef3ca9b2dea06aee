"""Requests: the channel to add, and the project to add it to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flowcraft.scaffolding.naming import Names


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an event: its name, and its Python annotation."""

    name: str
    annotation: str


@dataclass(frozen=True, slots=True)
class RequestedTable:
    """Pattern A: a table, and the column of each field whose name differs."""

    table: str
    columns: Mapping[str, str]
    on: tuple[str, ...] = ("insert", "update")
    key: tuple[str, ...] = ()
    """The fields by which a row is known, where the channel has the rows of the table."""


@dataclass(frozen=True, slots=True)
class ChannelRequest:
    """A channel to add. Without a `table`, a `service` broadcasts its events (pattern B)."""

    names: Names
    event: str
    fields: tuple[Field, ...]
    feature: str
    table: RequestedTable | None = None
    service: str | None = None
    parameter_type: str = "UUID"


@dataclass(frozen=True, slots=True)
class Project:
    """The places of a project. `root` is the folder that its modules are imported from."""

    root: Path
    channels: Path
    channels_object: str
    events: Path
    types: Path | None
    """Where the TypeScript types are; None if the pages are in another project."""
    tests: Path
    services: Path | None = None
    migrations: Path | None = None
    alembic: Path | None = None
    django: bool = False
    """Whether `manage.py makerealtimemigrations` writes the migrations."""
    alias: bool = False
    """Whether `@/` is an alias of the folder with the generated types."""
    dom: str = "happy-dom"
    """The DOM implementation of the page's tests."""
    react: bool = True
    """Whether the page has hooks; a page without a package.json has none."""
    pytest: bool = True
    """Whether the project's Python tests are of pytest."""
    vitest: bool = True
    """Whether the page's tests are of vitest and Testing Library."""

    def module(self, path: Path) -> str:
        """Return the import name of a file."""
        parts = path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def target(self) -> str:
        """The channels as MODULE:ATTRIBUTE."""
        return f"{self.module(self.channels)}:{self.channels_object}"


@dataclass(frozen=True, slots=True)
class Sample:
    """A value that fits a field: as a Python expression with its imports, and as JSON."""

    name: str
    expression: str
    json: object
    imports: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """Facts about the project with the channel declared, from importing it with the planned edits."""

    typescript: str
    samples: tuple[Sample, ...]
    tag: Mapping[str, str]
    trigger: str | None = None
    """The statements that create the triggers of the channel's source."""
    source: Mapping[str, object] = field(default_factory=dict[str, object])
    """The channel's source in plain values, as a migration holds it."""
    row: Mapping[str, object] = field(default_factory=dict[str, object])
    """A row of the source's table whose event has the samples as its values."""
    table_like: str = ""
    """The statement that creates a similar table, for tests."""
