"""Facts: what was read of a project, without a judgement. A part that could not be read is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from flowcraft.adapters.postgres.inspection import DatabaseFacts
from flowcraft.channels import Channels


class SourceLocation(msgspec.Struct, frozen=True, order=True):
    """Where something stands: a file as one would open it from the current folder."""

    path: str
    line: int
    column: int = 1


class Problem(msgspec.Struct, frozen=True):
    """What a parser or an import says is wrong."""

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
    """What the sources of the service say."""

    declared: Mapping[str, SourceLocation] = field(default_factory=dict[str, SourceLocation])
    broadcasts: tuple[Broadcast, ...] = ()
    unknown: tuple[Problem, ...] = ()
    broken: tuple[Problem, ...] = ()


# TypeScript, in the words of typescript_reader.mjs


class ChannelRead(msgspec.Struct, frozen=True):
    """A channel's name as an expression gives it: a builder, or parts with None where a value is put in."""

    place: SourceLocation
    parts: tuple[str | None, ...]
    builder: str | None


class Subscription(msgspec.Struct, frozen=True, rename="camel"):
    """A call that begins a subscription."""

    place: SourceLocation
    how: str
    via_hook: bool
    channels: tuple[ChannelRead, ...]


class Named(msgspec.Struct, frozen=True):
    """A name, and where it stands."""

    name: str
    place: SourceLocation


class WebFile(msgspec.Struct, frozen=True):
    """A TypeScript file."""

    path: str
    generated: bool
    broken: tuple[Problem, ...]
    exports: tuple[Named, ...]


class WebFacts(msgspec.Struct, frozen=True):
    """What the TypeScript sources say; only `error` if they cannot be read at all."""

    error: str | None
    folder: str = ""
    files: tuple[WebFile, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    builders: tuple[Named, ...] = ()


class Generated(msgspec.Struct, frozen=True):
    """A generated file: its text, and what would be generated today."""

    path: str
    present: str
    wanted: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was read. Without `channels` nothing else was looked at: `failure` says why."""

    target: str
    channels: Channels | None = None
    failure: Problem | None = None
    python: PythonFacts = field(default_factory=PythonFacts)
    web: WebFacts | None = None
    generated: tuple[Generated, ...] = ()
    database: DatabaseFacts | None = None
