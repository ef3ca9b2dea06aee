"""Effects of the hub: what is sent to sessions, and what the runtime reads for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, assert_never

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


Outgoing: TypeAlias = Deliver | DeliverEphemeral | Subscribed | Reset | Settled
Effect: TypeAlias = Outgoing | ReadReplay | ReadState | ReadNow


def resets_instead(effect: Outgoing) -> list[Reset]:
    """Return the resets to send when an effect cannot be encoded; none if no client misses an event.

    The hub's position is past the effect already, so these clients have to load their state again.
    """
    match effect:
        case Deliver(records, cursor, _, to):
            channels = tuple(dict.fromkeys(record.channel for record in records))
            return [Reset(session, channels, "unreadable", cursor, None) for session in to if channels]
        case Subscribed(session, channels, _, cursor, ref, _):
            return [Reset(session, channels, "unreadable", cursor, ref)]
        case DeliverEphemeral() | Reset() | Settled():
            return []
    assert_never(effect)


def recipients(effect: Outgoing, name: Callable[[SessionId], str]) -> str:
    """Describe the recipients of an effect for a log line; `name` names one connection."""
    match effect:
        case Deliver(records, _, _, to):
            channels = dict.fromkeys(record.channel for record in records)
            return f"of {len(channels)} channels ({', '.join([*channels][:5])}) to {len(to)} connections"
        case DeliverEphemeral(event, to):
            return f"of {event.channel} to {len(to)} connections"
        case Subscribed() | Reset() | Settled():
            return f"to {name(effect.session)}"
    assert_never(effect)
