"""Facts: what the readers found in a project, before any rule. A part that could not be read is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from flowcraft.adapters.postgres.inspection import DatabaseFacts
from flowcraft.channels import Channels


class SourceLocation(msgspec.Struct, frozen=True, order=True):
    """A place in a file, whose path is relative to the current folder."""

    path: str
    line: int
    column: int = 1


class Problem(msgspec.Struct, frozen=True):
    """An error of a parser or an import."""

    place: SourceLocation | None
    text: str


# Python


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A call of `broadcast`. `channel` is the declared name, or None if it cannot be read from the source."""

    place: SourceLocation
    channel: str | None
    event: type | None
    awaited: bool


@dataclass(frozen=True, slots=True)
class PythonFacts:
    """The declarations, broadcasts and errors in the service's sources."""

    declared: Mapping[str, SourceLocation] = field(default_factory=dict[str, SourceLocation])
    broadcasts: tuple[Broadcast, ...] = ()
    unknown: tuple[Problem, ...] = ()
    broken: tuple[Problem, ...] = ()


# TypeScript, as typescript_reader.mjs prints it


class ChannelRead(msgspec.Struct, frozen=True):
    """A channel's name as read from an expression: a builder, or parts with None for each inserted value."""

    place: SourceLocation
    parts: tuple[str | None, ...]
    builder: str | None


class SubscribeCall(msgspec.Struct, frozen=True, rename="camel"):
    """A call that subscribes to channels. `on_gone`: its options have `onGone`; None if that is not known."""

    place: SourceLocation
    how: str
    via_hook: bool
    channels: tuple[ChannelRead, ...]
    on_gone: bool | None = None


class Named(msgspec.Struct, frozen=True):
    """A name and its place."""

    name: str
    place: SourceLocation


class WebFile(msgspec.Struct, frozen=True):
    """A TypeScript file."""

    path: str
    generated: bool
    broken: tuple[Problem, ...]
    exports: tuple[Named, ...]


class WebFacts(msgspec.Struct, frozen=True):
    """The subscriptions and exports in the TypeScript sources; only `error` if they cannot be read at all."""

    error: str | None
    folder: str = ""
    files: tuple[WebFile, ...] = ()
    subscriptions: tuple[SubscribeCall, ...] = ()
    builders: tuple[Named, ...] = ()


class Generated(msgspec.Struct, frozen=True):
    """A generated file: its text, and the text that codegen generates now."""

    path: str
    present: str
    wanted: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All facts. Without `channels`, `failure` has the reason, and nothing else was read."""

    target: str
    channels: Channels | None = None
    failure: Problem | None = None
    python: PythonFacts = field(default_factory=PythonFacts)
    web: WebFacts | None = None
    generated: tuple[Generated, ...] = ()
    database: DatabaseFacts | None = None
