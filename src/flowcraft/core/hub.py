"""Hub: hold the subscriptions of all sessions and fan committed records out to them.

A subscription of a session to a channel is *live* or *replaying* (or both, when the session subscribes again
with an older cursor). Live sessions get every batch, closed by a commit point. A replaying session gets what
lies after its cursor, from memory if that reaches back far enough and else from the log, which the runtime
reads. It is live from the hub's position at the step that ends its replay: `replay.py` explains why no event
is lost or delivered twice in between. Every method returns effects; none of them waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

from flowcraft.core.counts import Counts
from flowcraft.core.held import Held, HeldRequest
from flowcraft.core.hub_effects import (
    Deliver,
    DeliverEphemeral,
    Effect,
    ReadNow,
    ReadReplay,
    ReadState,
    Reset,
    SessionId,
    Settled,
    Subscribed,
)
from flowcraft.core.kinds import by_reason, part
from flowcraft.core.recent import Recent
from flowcraft.core.replay import Replay
from flowcraft.core.states import State, StateRequest
from flowcraft.cursors import Cursor, ResetReason, Snapshot
from flowcraft.records import Batch, Ephemeral, Kind, Record, family_of
from flowcraft.settings import Settings

_EVENT = Kind.EVENT
FIRST = Snapshot(1)
"""Before every transaction: the read of the log reports where it begins."""
_K = TypeVar("_K")
_V = TypeVar("_V")


class Hub:
    """Fans committed records out to sessions. It holds positions and subscriptions, never a connection."""

    # Dicts with None as value are ordered sets: the order of fan-out must not depend on hashing, which for
    # strings differs from process to process.

    def __init__(self, start: Batch, settings: Settings | None = None, counts: Counts | None = None) -> None:
        self._settings = settings or Settings()
        self._counts = counts or Counts()
        self._position = start
        self._recent = Recent(start.cursor, self._settings)
        self._sessions: dict[SessionId, dict[str, None]] = {}
        self._live: dict[str, dict[SessionId, None]] = {}
        self._families: dict[str, dict[str, None]] = {}
        """The live channels by the reserved channel of their family."""
        self._subscribers: Counter[str] = Counter()
        self._replaying: dict[str, dict[Replay, None]] = {}
        self._replays: dict[SessionId, dict[Replay, None]] = {}
        self._ahead: dict[Replay, None] = {}
        self._states: dict[SessionId, dict[StateRequest, None]] = {}
        self._settling: dict[SessionId, dict[int, None]] = {}
        self._held: dict[SessionId, Held] = {}
        """Sessions to which nothing is sent now; see `hold`."""

    @property
    def cursor(self) -> Cursor:
        """The position: live sessions have been sent every event up to it."""
        return self._position.cursor

    def __len__(self) -> int:
        return len(self._sessions)

    def subscriber_count(self, channel: str) -> int:
        """Return how many sessions are live on a channel."""
        return len(self._live.get(channel, ()))

    def family_subscriber_count(self, prefix: str) -> int:
        """Return how many live subscriptions the channels of a prefix have."""
        return self._subscribers[prefix]

    @property
    def subscription_count(self) -> int:
        """The number of subscriptions, live or replaying."""
        return sum(map(len, self._live.values())) + sum(map(len, self._replaying.values()))

    def connect(self, session: SessionId) -> None:
        """Begin a session; as long as it has no subscriptions it receives heartbeats."""
        self._sessions[session] = {}

    def disconnect(self, session: SessionId) -> None:
        """End a session with its subscriptions and replays; a no-op for one that has ended."""
        channels = self._sessions.pop(session, {})
        for channel in channels:
            self._end_live(session, channel)
        for replay in tuple(self._replays.get(session, ())):
            self._finish(replay)
        self._states.pop(session, None)
        self._settling.pop(session, None)
        self._held.pop(session, None)

    def hold(self, session: SessionId) -> bool:
        """Send a session nothing until `release`; return False if it waits for a replay or a state.

        A client that is sent a later position, and reconnects, does not ask for events before it.
        """
        if self._replays.get(session) or self._states.get(session):
            return False
        channels = self._sessions[session]
        self._sessions[session] = {}
        for channel in channels:
            self._end_live(session, channel)
        self._held[session] = Held(channels)
        return True

    def release(self, session: SessionId, since: Cursor) -> list[Effect] | None:
        """Send what was held back since the hub's position at `hold`; None if that is not in memory."""
        held = self._held.get(session) or Held({})
        channels, effects = tuple(held.channels), list[Effect]()
        if not self._recent.reaches(since, channels):
            return None
        self._held.pop(session, None)
        if channels:
            replay = Replay(session, set(channels), since, None)
            effects += self._go_live(replay, channels, self._recent.after(since, channels))
        for request in held.requests:
            if isinstance(request.since, str):
                effects += self.reset(session, tuple(request.channels), request.since, request.ref)
            else:
                effects += self.subscribe(
                    session,
                    request.channels,
                    request.since,
                    request.ref,
                    rows=request.rows,
                    oldest=request.oldest,
                )
        return [*effects, *self._settle_delivered()]

    def subscribe(
        self,
        session: SessionId,
        channels: Iterable[str],
        since: Cursor | None = None,
        ref: int | None = None,
        *,
        rows: bool = False,
        oldest: bool = False,
    ) -> list[Effect]:
        """Subscribe from the hub's position, or after a cursor by a replay from memory or from the log.

        With `oldest`, the replay is everything that the log still has. With `rows`, the rows of the channels
        are read first; with a cursor only if there is no replay.
        """
        names = tuple(channels)
        if session in self._held:
            self._held[session].requests.append(HeldRequest(list(names), since, ref, rows, oldest))
            return []
        if oldest:
            replay = Replay(session, set(names), Cursor(self.cursor.lineage, FIRST), ref, is_from_oldest=True)
            self._begin(replay)
            return [ReadReplay(replay)]
        if since is not None:
            return self._start(Replay(session, set(names), since, ref, rows), names)
        if rows:
            return self._read_states(session, names, ref)
        self._begin_live(session, names)
        return [Subscribed(session, names, (), self.cursor, ref)]

    def state_read(self, request: StateRequest, state: State) -> list[Effect]:
        """Take the rows of a channel: they are sent with what followed, once the hub is past their cursor."""
        if not self._drop_request(request):
            return []
        channel, attempts = request.channel, request.attempts
        replay = Replay(request.session, {channel}, state.cursor, request.ref, True, state, attempts)
        return self._start(replay, (channel,))

    def state_failed(self, request: StateRequest) -> bool:
        """End a request whose rows cannot be read; return whether its client still waits for it."""
        return self._drop_request(request)

    def replayed(self, replay: Replay, batch: Batch) -> list[Effect]:
        """Take a replay's records from the log, and end the replay once the hub is past its cursor."""
        if not self._is_pending(replay):
            return []
        replay.replayed = batch.readable().records
        if not replay.can_end_at(self._position.snapshot):
            self._ahead[replay] = None
            return [ReadNow()]
        return self._end(replay)

    def replay_failed(self, replay: Replay, reason: ResetReason) -> list[Effect]:
        """End a replay that the log cannot serve, with a reset."""
        if not self._is_pending(replay):
            return []
        self._finish(replay)
        names = tuple(sorted(replay.channels))
        if replay.wants_rows:
            return self._read_states(replay.session, names, replay.ref, replay.attempts + 1)
        return self.reset(replay.session, names, reason, replay.ref)

    def reset(
        self, session: SessionId, channels: tuple[str, ...], reason: ResetReason, ref: int | None
    ) -> list[Effect]:
        """Make a session live from the hub's position, with a reset: earlier events cannot be replayed."""
        if session in self._held:
            self._held[session].requests.append(HeldRequest(list(channels), reason, ref))
            return []
        self._begin_live(session, channels)
        return [Reset(session, channels, reason, self.cursor, ref)]

    def remembers(self, since: Cursor, channel: str) -> bool:
        """Return whether what followed a cursor on a channel is in memory."""
        return self._recent.reaches(since, (channel,))

    def unsubscribe(self, session: SessionId, channels: Iterable[str]) -> None:
        """End subscriptions; a no-op for channels that are not subscribed."""
        for channel in channels:
            subscribed = self._sessions.get(session, {})
            if session in self._held:
                self._held[session].drop(channel)
            if channel in subscribed:
                del subscribed[channel]
                self._end_live(session, channel)
            for replay in self._replays.get(session, ()):
                before = replay.names
                replay.channels.discard(channel)
                for name in before - replay.names:
                    _discard(self._replaying, name, replay)
            for request in [one for one in self._states.get(session, ()) if one.channel == channel]:
                self._drop_request(request)

    def broadcast(self, batch: Batch, now: float = 0.0) -> list[Effect]:
        """Move to the position of a batch and fan out its records. `now` is monotonic, in seconds."""
        if batch.unreadable:
            batch = batch.readable()
        before = self.cursor
        self._position = batch
        self._recent.add(batch, now)
        for record in batch.records:
            for replay in self._replaying.get(record.channel, ()):
                replay.missed.append(record)
        effects = self._deliveries(batch, before)
        for replay in list(self._ahead):
            effects += self._pass_cursor(replay)
        return effects + self._settle_delivered()

    def broadcast_ephemeral(self, event: Ephemeral) -> list[Effect]:
        """Fan out an ephemeral event to the sessions that are live now."""
        to = tuple(self._live.get(event.channel, ()))
        return [DeliverEphemeral(event, to)] if to else []

    def restart(self, start: Batch, reason: ResetReason) -> list[Effect]:
        """Restart from a position that does not continue the last one; every subscription is reset."""
        self._position = start
        self._recent = Recent(start.cursor, self._settings)
        effects: list[Effect] = []
        for session, channels in self._sessions.items():
            if channels:
                effects += self.reset(session, tuple(channels), reason, None)
        for replay in [replay for replays in self._replays.values() for replay in replays]:
            effects += self.replay_failed(replay, reason)
        return effects

    def is_replaying(self, session: SessionId, channel: str) -> bool:
        """Return whether a session waits for a replay or the state of a channel."""
        replays, states = self._replays.get(session, ()), self._states.get(session, ())
        return any(channel in one.channels for one in replays) or any(
            channel == one.channel for one in states
        )

    def heartbeat(self, sessions: Iterable[SessionId] | None = None) -> list[Effect]:
        """Send the position to some sessions, or to all, also when there were no events."""
        some = self._sessions if sessions is None else [s for s in sessions if s in self._sessions]
        to = tuple([session for session in some if session not in self._held])
        return [Deliver((), self.cursor, self._position.at, to)] if to else []

    def settle(self, session: SessionId, xid: int) -> list[Effect]:
        """Confirm a transaction once the position is past it: now, or after a later batch."""
        if self.has_settled(xid) and session not in self._held:
            return [Settled(session, xid, self.cursor)]
        self._settling.setdefault(session, {})[xid] = None
        return [ReadNow()]

    def has_settled(self, xid: int) -> bool:
        """Return whether the position is past a transaction, with or without events."""
        return self._position.snapshot.covers(xid)

    def settling_count(self, session: SessionId) -> int:
        """Return how many transactions a session waits for."""
        return len(self._settling.get(session, ()))

    def _deliveries(self, batch: Batch, before: Cursor) -> list[Effect]:
        if all(record.kind is _EVENT for record in batch.records):  # nearly every batch: nothing to part
            return list(self._deliver(batch, batch.records))
        parted = part(batch.records, lambda family: self._families.get(family, ()))
        groups = self._deliver(batch, parted.records)
        reached = {session for group in groups for session in group.to}
        return [*self._reset_subscribers(parted.resets, before, reached), *groups]

    def _deliver(self, batch: Batch, records: tuple[Record, ...]) -> list[Deliver]:
        channels = {record.channel for record in records}
        if len(channels) == 1:  # by far the most common batch: all recipients get the same records
            to = tuple(self._live.get(channels.pop(), ()))
            return [Deliver(records, batch.cursor, batch.at, to)] if to else []
        by_session: dict[SessionId, list[Record]] = {}
        for record in records:
            for session in self._live.get(record.channel, ()):
                by_session.setdefault(session, []).append(record)
        # Sessions that get the same records share one effect, and so the encoded bytes.
        groups: dict[tuple[int, ...], tuple[list[Record], list[SessionId]]] = {}
        for session, found in by_session.items():
            key = tuple(map(id, found))
            groups.setdefault(key, (found, []))[1].append(session)
        return [Deliver(tuple(found), batch.cursor, batch.at, tuple(to)) for found, to in groups.values()]

    def _reset_subscribers(
        self, resets: Mapping[str, str], before: Cursor, reached: set[SessionId]
    ) -> list[Effect]:
        """Reset the live subscribers of channels, each once per reason."""
        channels: dict[SessionId, list[str]] = {}
        for channel in resets:
            for session in self._live.get(channel, ()):
                channels.setdefault(session, []).append(channel)
        effects: list[Effect] = []
        for session, found in channels.items():
            effects += self._resets(session, by_reason(resets, found), before, None, session in reached)
        return effects

    def _resets(
        self,
        session: SessionId,
        reasons: Mapping[str, Iterable[str]],
        before: Cursor,
        ref: int | None,
        has_more: bool,
    ) -> list[Effect]:
        """Only the last frame for a session has the new cursor.

        Clients may move the positions of all channels to it: one whose connection is cut between the frames
        has the resets again.
        """
        frames = [(reason, tuple(names)) for reason, names in reasons.items()]
        cursors = [before] * len(frames) if has_more else [before] * (len(frames) - 1) + [self.cursor]
        return [
            Reset(session, names, reason, cursor, ref)
            for (reason, names), cursor in zip(frames, cursors, strict=True)
        ]

    def _settle_delivered(self) -> list[Effect]:
        effects: list[Effect] = []
        for session, xids in list(self._settling.items()):
            if session in self._held:
                continue
            for xid in [xid for xid in xids if self.has_settled(xid)]:
                del xids[xid]
                effects.append(Settled(session, xid, self.cursor))
            if not xids:
                del self._settling[session]
        return effects

    def _start(self, replay: Replay, names: tuple[str, ...]) -> list[Effect]:
        since = replay.since
        if not self._recent.reaches(since, names):
            self._begin(replay)
            return [ReadReplay(replay)]
        if replay.can_end_at(self._position.snapshot):
            self._counts.replays_from_memory += 1
            return self._go_live(replay, names, self._recent.after(since, names))
        self._begin(replay)
        self._ahead[replay] = None
        return [ReadNow()]

    def _go_live(
        self, replay: Replay, channels: tuple[str, ...], records: tuple[Record, ...]
    ) -> list[Effect]:
        """Answer a subscription: with its replay, and with a reset of the channels that the log has reset.

        Where the client wants rows, these channels are not reset: their rows are read.
        """
        session, ref = replay.session, replay.ref
        parted = part(records, lambda family: [c for c in channels if family_of(c) == family])
        rest = tuple([channel for channel in channels if channel not in parted.resets])
        self._begin_live(session, rest if replay.wants_rows else channels)
        answers: list[Effect] = []
        if rest or not parted.resets:
            answers.append(Subscribed(session, rest, parted.records, self.cursor, ref, replay.state))
        if replay.wants_rows:
            again = [channel for channel in channels if channel in parted.resets]
            return [*answers, *self._read_states(session, again, ref, replay.attempts + 1)]
        reasons = by_reason(parted.resets, channels)
        return [*self._resets(session, reasons, replay.since, ref, bool(answers)), *answers]

    def _read_states(
        self, session: SessionId, channels: Iterable[str], ref: int | None, attempts: int = 0
    ) -> list[Effect]:
        requests = [StateRequest(session, channel, ref, attempts) for channel in channels]
        if requests:
            self._states.setdefault(session, {}).update(dict.fromkeys(requests))
        return [ReadState(request) for request in requests]

    def _drop_request(self, request: StateRequest) -> bool:
        is_pending = request in self._states.get(request.session, ())
        _discard(self._states, request.session, request)
        return is_pending

    def _begin_live(self, session: SessionId, channels: Iterable[str]) -> None:
        subscribed = self._sessions[session]
        for channel in channels:
            if channel not in subscribed:
                self._subscribers[_prefix(channel)] += 1
                subscribed[channel] = None
            if channel not in self._live:
                self._live[channel] = {}
                self._families.setdefault(family_of(channel) or channel, {})[channel] = None
            self._live[channel][session] = None

    def _end_live(self, session: SessionId, channel: str) -> None:
        self._subscribers[_prefix(channel)] -= 1
        _discard(self._live, channel, session)
        if channel not in self._live:
            _discard(self._families, family_of(channel) or channel, channel)

    def _begin(self, replay: Replay) -> None:
        self._replays.setdefault(replay.session, {})[replay] = None
        for name in replay.names:
            self._replaying.setdefault(name, {})[replay] = None

    def _pass_cursor(self, replay: Replay) -> list[Effect]:
        """End a replay whose cursor was ahead of the hub, if the hub is past it now; else read the log."""
        if replay.can_end_at(self._position.snapshot):
            return self._end(replay)
        replay.patience -= 1
        if replay.patience > 0:
            return [ReadNow()]
        if replay.replayed is not None:
            # Its cursor covers a transaction that the hub does not see yet: wait for it.
            return []
        del self._ahead[replay]
        return [ReadReplay(replay)]

    def _end(self, replay: Replay) -> list[Effect]:
        names = tuple(sorted(replay.channels))
        if replay.replayed is not None:
            records = replay.merge(self.cursor)
        elif self._recent.reaches(replay.since, names):
            self._counts.replays_from_memory += 1
            records = self._recent.after(replay.since, names)
        else:  # a batch larger than the memory has pushed the cursor out
            del self._ahead[replay]
            return [ReadReplay(replay)]
        self._finish(replay)
        return self._go_live(replay, names, records)

    def _is_pending(self, replay: Replay) -> bool:
        return replay in self._replays.get(replay.session, ())

    def _finish(self, replay: Replay) -> None:
        self._ahead.pop(replay, None)
        _discard(self._replays, replay.session, replay)
        for name in replay.names:
            _discard(self._replaying, name, replay)


def _prefix(channel: str) -> str:
    return channel.partition(".")[0]


def _discard(index: dict[_K, dict[_V, None]], key: _K, entry: _V) -> None:
    entries = index.get(key)
    if entries is not None:
        entries.pop(entry, None)
        if not entries:
            del index[key]
