"""Effects of the hub: what is sent to sessions, and what the runtime reads for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import msgspec

from flowcraft.core.replay import Replay
from flowcraft.core.states import State, StateRequest
from flowcraft.cursors import Cursor
from flowcraft.records import Ephemeral, Record

SessionId: TypeAlias = int


class Deliver(msgspec.Struct, frozen=True):
    """Send a batch and its commit point to live sessions; a batch without records is a heartbeat."""

    records: tuple[Record, ...]
    cursor: Cursor
    at: datetime
    to: tuple[SessionId, ...]


@dataclass(frozen=True, slots=True)
class DeliverEphemeral:
    """Send an ephemeral event."""

    event: Ephemeral
    to: tuple[SessionId, ...]


@dataclass(frozen=True, slots=True)
class ReadReplay:
    """Read the log after the replay's cursor, then call `replayed` or `replay_failed`."""

    replay: Replay

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels to read and their families, sorted: SQL statements and tests see one order."""
        return tuple(sorted(self.replay.names))


@dataclass(frozen=True, slots=True)
class ReadState:
    """Read the rows of a channel, then call `state_read` or `state_failed`."""

    request: StateRequest


class Subscribed(msgspec.Struct, frozen=True):
    """Send a state if there is one, a replay, and the frame that closes it."""

    session: SessionId
    channels: tuple[str, ...]
    records: tuple[Record, ...]
    cursor: Cursor
    ref: int | None
    state: State | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """Have a client reload its state; its session is live from `cursor`."""

    session: SessionId
    channels: tuple[str, ...]
    reason: str
    """A `ResetReason`, or the `LoggedResetReason` of a record."""
    cursor: Cursor
    ref: int | None


@dataclass(frozen=True, slots=True)
class Settled:
    """Confirm that a transaction has been delivered to a session."""

    session: SessionId
    xid: int
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class ReadNow:
    """Have the relay read the log now, without waiting for the next wakeup."""


Effect: TypeAlias = (
    Deliver | DeliverEphemeral | ReadReplay | ReadState | Subscribed | Reset | Settled | ReadNow
)
