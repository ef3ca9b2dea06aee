"""Effects of a session: what the runtime does for it, before it reports the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

import msgspec

from flowcraft.cursors import Cursor, ResetReason
from flowcraft.declarations import Declaration
from flowcraft.viewers import Viewer


class Send(msgspec.Struct, frozen=True):
    """Send one control frame."""

    message: bytes


class Authenticate(msgspec.Struct, frozen=True):
    """Check a token, then call `authenticated` or `rejected`."""

    token: str


@dataclass(frozen=True, slots=True)
class AuthenticateRequest:
    """Ask whether the request proves a viewer, then call `authenticated`, `unproven` or `rejected`."""


class GuardQuestion(msgspec.Struct, frozen=True):
    """One guarded channel, and the value of its parameter."""

    name: str
    declaration: Declaration
    value: UUID | int | str | None


class Authorize(msgspec.Struct, frozen=True):
    """Call the guards, then call `authorized`."""

    viewer: Viewer
    questions: tuple[GuardQuestion, ...]


class BeginSubscription(msgspec.Struct, frozen=True):
    """Subscribe at the hub."""

    channels: tuple[str, ...]
    since: Cursor | None
    ref: int | None
    rows: bool = False
    """Whether the client wants the rows of the channels."""
    oldest: bool = False
    """Whether it wants everything that the log still has of the channels."""


@dataclass(frozen=True, slots=True)
class ResetSubscription:
    """Subscribe at the hub from its position, with a reset: the client's cursor cannot be used."""

    channels: tuple[str, ...]
    reason: ResetReason
    ref: int | None


@dataclass(frozen=True, slots=True)
class EndSubscription:
    """Unsubscribe at the hub."""

    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Join:
    """Have the viewer be present on channels of members."""

    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """Have the viewer be present on channels of members no longer."""

    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hold:
    """Send this client nothing from the hub until `Release`."""


@dataclass(frozen=True, slots=True)
class Release:
    """Send what was held back since this position of the hub."""

    since: Cursor


@dataclass(frozen=True, slots=True)
class AwaitSettle:
    """Have the hub confirm a transaction."""

    xid: int


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection after the last frames."""

    code: int
    reason: str
    last: tuple[bytes, ...] = ()


HubEffect: TypeAlias = ResetSubscription | EndSubscription | Hold | Release | AwaitSettle
PresenceEffect: TypeAlias = Join | Leave
Question: TypeAlias = Authenticate | AuthenticateRequest | Authorize
Effect: TypeAlias = Send | BeginSubscription | Question | HubEffect | PresenceEffect | Close
