"""The hub: who is subscribed to what, and what each of them is told next.

A session is *live* on a channel or *catching up* on it (or both, when a second reader joins with an older
cursor). Live sessions get every batch as one group closed by a commit point. A session that catches up gets a
replay, from memory if that reaches back far enough and else read from the log by the runtime, and is live
from the hub's position at that very step: `replay.py` tells why nothing is lost or doubled between the two.
Every method returns effects; none of them waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, TypeVar

from flowcraft.core.recent import Recent
from flowcraft.core.replay import CatchUp
from flowcraft.cursors import Cursor, ResetReason
from flowcraft.records import Batch, Ephemeral, Record
from flowcraft.settings import Settings

SessionId: TypeAlias = int
_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send a group and its commit point to live sessions; without records it is a heartbeat."""

    records: tuple[Record, ...]
    cursor: Cursor
    at: datetime
    to: tuple[SessionId, ...]


@dataclass(frozen=True, slots=True)
class DeliverEphemeral:
    """Send an event outside the log."""

    event: Ephemeral
    to: tuple[SessionId, ...]


@dataclass(frozen=True, slots=True)
class ReadBacklog:
    """Read the log after `since`, and come back with `replayed` or `unbridgeable`."""

    catch_up: CatchUp

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels to read, in a stable order."""
        return tuple(sorted(self.catch_up.channels))


@dataclass(frozen=True, slots=True)
class Subscribed:
    """Send a replay and the frame that closes it."""

    session: SessionId
    channels: tuple[str, ...]
    records: tuple[Record, ...]
    cursor: Cursor
    ref: int | None


@dataclass(frozen=True, slots=True)
class Reset:
    """Tell a session to reload its state; it is live from `cursor`."""

    session: SessionId
    channels: tuple[str, ...]
    reason: ResetReason
    cursor: Cursor
    ref: int | None


@dataclass(frozen=True, slots=True)
class Settled:
    """Tell a session that a transaction has been delivered."""

    session: SessionId
    xid: int
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class ReadNow:
    """Ask the relay not to wait for the next wakeup."""


Effect: TypeAlias = Deliver | DeliverEphemeral | ReadBacklog | Subscribed | Reset | Settled | ReadNow


class Hub:
    """Fans committed records out to sessions. Holds positions and subscriptions, never a connection."""

    def __init__(self, start: Batch, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._position = start
        self._recent = Recent(start.cursor, self._settings)
        self._sessions: dict[SessionId, dict[str, None]] = {}
        self._live: dict[str, dict[SessionId, None]] = {}
        self._audience: Counter[str] = Counter()
        self._catching_up: dict[str, dict[CatchUp, None]] = {}
        self._catch_ups: dict[SessionId, dict[CatchUp, None]] = {}
        self._ahead: dict[CatchUp, None] = {}
        self._settling: dict[SessionId, dict[int, None]] = {}
        self.remembered = 0
        """Resumes that were answered from memory."""

    @property
    def cursor(self) -> Cursor:
        """The position up to which live sessions have been told everything."""
        return self._position.cursor

    def __len__(self) -> int:
        return len(self._sessions)

    def subscriber_count(self, channel: str) -> int:
        """Return how many sessions are live on a channel."""
        return len(self._live.get(channel, ()))

    def audience(self, prefix: str) -> int:
        """Return how many sessions are live on the channels of a prefix, each as often as it is."""
        return self._audience[prefix]

    @property
    def subscription_count(self) -> int:
        """How many entries there are, live or catching up."""
        return sum(map(len, self._live.values())) + sum(map(len, self._catching_up.values()))

    def join(self, session: SessionId) -> None:
        """Begin a session; without subscriptions it hears heartbeats."""
        self._sessions[session] = {}

    def leave(self, session: SessionId) -> None:
        """End a session and forget all about it."""
        channels = self._sessions.pop(session, {})
        for channel in channels:
            self._detach(session, channel)
        for catch_up in tuple(self._catch_ups.get(session, ())):
            self._finish(catch_up)
        self._settling.pop(session, None)

    def subscribe(
        self, session: SessionId, channels: Iterable[str], since: Cursor | None = None, ref: int | None = None
    ) -> list[Effect]:
        """Subscribe from the hub's position, or from another one by way of memory or of the log."""
        names = tuple(channels)
        if since is None:
            return self._go_live(session, names, (), ref)
        catch_up = CatchUp(session, set(names), since, ref)
        if not self._recent.reaches(since):
            self._begin(catch_up)
            return [ReadBacklog(catch_up)]
        if catch_up.can_end_at(self._position.seen):
            self.remembered += 1
            return self._go_live(session, names, self._recent.after(since, names), ref)
        self._begin(catch_up)
        self._ahead[catch_up] = None
        return [ReadNow()]

    def replayed(self, catch_up: CatchUp, replay: Batch) -> list[Effect]:
        """Take what the log holds for a catch-up, and finish it as soon as the hub is past its cursor."""
        if not self._is_pending(catch_up):
            return []
        catch_up.replayed = replay.records
        if not catch_up.can_end_at(self._position.seen):
            self._ahead[catch_up] = None
            return [ReadNow()]
        return self._end(catch_up)

    def unbridgeable(self, catch_up: CatchUp, reason: ResetReason) -> list[Effect]:
        """Finish a catch-up that the log cannot serve."""
        if not self._is_pending(catch_up):
            return []
        self._finish(catch_up)
        return self.reset(catch_up.session, tuple(sorted(catch_up.channels)), reason, catch_up.ref)

    def reset(
        self, session: SessionId, channels: tuple[str, ...], reason: ResetReason, ref: int | None
    ) -> list[Effect]:
        """Make a session live from here and tell it that what came before cannot be told."""
        self._attach(session, channels)
        return [Reset(session, channels, reason, self.cursor, ref)]

    def unsubscribe(self, session: SessionId, channels: Iterable[str]) -> None:
        """Follow channels no longer; a no-op for those that were not followed."""
        for channel in channels:
            if self._sessions.get(session, {}).pop(channel, True) is None:
                self._detach(session, channel)
            for catch_up in self._catch_ups.get(session, ()):
                catch_up.channels.discard(channel)
                _discard(self._catching_up, channel, catch_up)

    def broadcast(self, batch: Batch, now: float = 0.0) -> list[Effect]:
        """Move to a new position and fan out what lies between. `now` is monotonic, in seconds."""
        self._position = batch
        self._recent.add(batch, now)
        for record in batch.records:
            for catch_up in self._catching_up.get(record.channel, ()):
                catch_up.backlog.append(record)
        effects = self._deliveries(batch)
        for catch_up in list(self._ahead):
            effects += self._come_past(catch_up)
        return effects + self._settle_covered()

    def broadcast_ephemeral(self, event: Ephemeral) -> list[Effect]:
        """Fan out an event that is not in the log, to whoever is live now."""
        to = tuple(self._live.get(event.channel, ()))
        return [DeliverEphemeral(event, to)] if to else []

    def begin_anew(self, start: Batch, reason: ResetReason) -> list[Effect]:
        """Begin again from a position that does not continue the last one; every subscriber is told."""
        self._position = start
        self._recent = Recent(start.cursor, self._settings)
        effects: list[Effect] = []
        for session, channels in self._sessions.items():
            if channels:
                effects += self.reset(session, tuple(channels), reason, None)
        for catch_up in [c for catch_ups in self._catch_ups.values() for c in catch_ups]:
            effects += self.unbridgeable(catch_up, reason)
        return effects

    def heartbeat(self, sessions: Iterable[SessionId] | None = None) -> list[Effect]:
        """Tell sessions, or all of them, the position, although nothing may have happened."""
        to = tuple(self._sessions if sessions is None else [s for s in sessions if s in self._sessions])
        return [Deliver((), self.cursor, self._position.at, to)] if to else []

    def settle(self, session: SessionId, xid: int) -> list[Effect]:
        """Answer once the position covers a transaction, now if it does."""
        if self.has_seen(xid):
            return [Settled(session, xid, self.cursor)]
        self._settling.setdefault(session, {})[xid] = None
        return [ReadNow()]

    def has_seen(self, xid: int) -> bool:
        """Tell whether the position covers a transaction, one without events too."""
        return self._position.seen.covers(xid)

    def settling_count(self, session: SessionId) -> int:
        """Return how many transactions a session waits for."""
        return len(self._settling.get(session, ()))

    def _deliveries(self, batch: Batch) -> list[Effect]:
        channels = {record.channel for record in batch.records}
        if len(channels) == 1:  # by far the most common batch: nothing to sort out
            to = tuple(self._live.get(channels.pop(), ()))
            return [Deliver(batch.records, batch.cursor, batch.at, to)] if to else []
        by_session: dict[SessionId, list[Record]] = {}
        for record in batch.records:
            for session in self._live.get(record.channel, ()):
                by_session.setdefault(session, []).append(record)
        # Sessions that get the same records share one effect, and so the encoded bytes.
        groups: dict[tuple[int, ...], tuple[list[Record], list[SessionId]]] = {}
        for session, records in by_session.items():
            key = tuple([record.id for record in records])
            groups.setdefault(key, (records, []))[1].append(session)
        return [Deliver(tuple(records), batch.cursor, batch.at, tuple(to)) for records, to in groups.values()]

    def _settle_covered(self) -> list[Effect]:
        effects: list[Effect] = []
        for session, xids in list(self._settling.items()):
            for xid in [xid for xid in xids if self.has_seen(xid)]:
                del xids[xid]
                effects.append(Settled(session, xid, self.cursor))
            if not xids:
                del self._settling[session]
        return effects

    def _go_live(
        self, session: SessionId, channels: tuple[str, ...], records: tuple[Record, ...], ref: int | None
    ) -> list[Effect]:
        self._attach(session, channels)
        return [Subscribed(session, channels, records, self.cursor, ref)]

    def _attach(self, session: SessionId, channels: Iterable[str]) -> None:
        followed = self._sessions[session]
        for channel in channels:
            if channel not in followed:
                self._audience[_prefix(channel)] += 1
                followed[channel] = None
            self._live.setdefault(channel, {})[session] = None

    def _detach(self, session: SessionId, channel: str) -> None:
        self._audience[_prefix(channel)] -= 1
        _discard(self._live, channel, session)

    def _begin(self, catch_up: CatchUp) -> None:
        self._catch_ups.setdefault(catch_up.session, {})[catch_up] = None
        for name in catch_up.channels:
            self._catching_up.setdefault(name, {})[catch_up] = None

    def _come_past(self, catch_up: CatchUp) -> list[Effect]:
        """End a catch-up from ahead of the hub if the hub is past it now; ask the log if that takes long."""
        if catch_up.can_end_at(self._position.seen):
            return self._end(catch_up)
        catch_up.patience -= 1
        if catch_up.patience > 0 or catch_up.replayed is not None:
            return [ReadNow()]
        del self._ahead[catch_up]
        return [ReadBacklog(catch_up)]

    def _end(self, catch_up: CatchUp) -> list[Effect]:
        names = tuple(sorted(catch_up.channels))
        if catch_up.replayed is not None:
            records = catch_up.merge(self.cursor)
        elif self._recent.reaches(catch_up.since):
            self.remembered += 1
            records = self._recent.after(catch_up.since, names)
        else:  # one batch was larger than the memory
            del self._ahead[catch_up]
            return [ReadBacklog(catch_up)]
        self._finish(catch_up)
        return self._go_live(catch_up.session, names, records, catch_up.ref)

    def _is_pending(self, catch_up: CatchUp) -> bool:
        return catch_up in self._catch_ups.get(catch_up.session, ())

    def _finish(self, catch_up: CatchUp) -> None:
        self._ahead.pop(catch_up, None)
        _discard(self._catch_ups, catch_up.session, catch_up)
        for name in catch_up.channels:
            _discard(self._catching_up, name, catch_up)


def _prefix(channel: str) -> str:
    return channel.partition(".")[0]


def _discard(index: dict[_K, dict[_V, None]], key: _K, entry: _V) -> None:
    entries = index.get(key)
    if entries is not None:
        entries.pop(entry, None)
        if not entries:
            del index[key]
