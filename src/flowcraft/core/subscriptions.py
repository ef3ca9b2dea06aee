"""Subscriptions: what each session has requested, and how that is answered at the hub's position.

A subscription of a session to a channel is *live* or *replaying* (or both, when the session subscribes again
with an older cursor). A replaying session gets what lies after its cursor, from memory if that reaches back
far enough and else from the log, which the runtime reads. It is live from the hub's position at the step that
ends its replay: `replay.py` explains why no event is lost or delivered twice in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flowcraft.core.counts import Counts
from flowcraft.core.held import Held, HeldRequest
from flowcraft.core.hub_effects import (
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
from flowcraft.core.live_sessions import LiveSessions, discard
from flowcraft.core.recent import Recent
from flowcraft.core.replay import Replay
from flowcraft.core.states import State, StateRequest
from flowcraft.cursors import Cursor, ResetReason, Snapshot
from flowcraft.records import Batch, Record, family_of

FIRST = Snapshot(1)
"""Before every transaction: the read of the log reports where it begins."""


class Subscriptions:
    """The subscriptions of all sessions, and what they wait for: replays, states, settled transactions.

    The hub moves `position` and `recent`, and reads the other public fields with every batch.
    """

    def __init__(self, position: Batch, recent: Recent, counts: Counts) -> None:
        self.position = position
        self.recent = recent
        self._counts = counts
        self.live = LiveSessions()
        self.replaying: dict[str, dict[Replay, None]] = {}
        """The replays by channel, to which records are added while the log is read for them."""
        self._replays: dict[SessionId, dict[Replay, None]] = {}
        self.ahead: dict[Replay, None] = {}
        """Replays whose cursors the hub has not passed."""
        self._states: dict[SessionId, dict[StateRequest, None]] = {}
        self.settling: dict[SessionId, dict[int, None]] = {}
        """The transactions that each session waits for."""
        self.held: dict[SessionId, Held] = {}
        """Sessions to which nothing is sent now; see `hold`."""

    @property
    def _cursor(self) -> Cursor:
        return self.position.cursor

    def connect(self, session: SessionId) -> None:
        """Begin a session; as long as it has no subscriptions it receives heartbeats."""
        self.live.channels[session] = {}

    def disconnect(self, session: SessionId) -> None:
        """End a session with its subscriptions and replays; a no-op for one that has ended."""
        self.live.end_all(session)
        self.live.channels.pop(session, None)
        for replay in tuple(self._replays.get(session, ())):
            self._finish(replay)
        self._states.pop(session, None)
        self.settling.pop(session, None)
        self.held.pop(session, None)

    def hold(self, session: SessionId) -> bool:
        """Send a session nothing until `release`; return False if it waits for a replay or a state.

        A client that is sent a later position, and reconnects, does not ask for events before it.
        """
        if self._replays.get(session) or self._states.get(session):
            return False
        self.held[session] = Held(self.live.end_all(session))
        return True

    def release(self, session: SessionId, since: Cursor) -> list[Effect] | None:
        """Send what was held back since the hub's position at `hold`; None if that is not in memory."""
        held = self.held.get(session) or Held({})
        channels, effects = tuple(held.channels), list[Effect]()
        if not self.recent.reaches(since, channels):
            return None
        self.held.pop(session, None)
        if channels:
            replay = Replay(session, set(channels), since, None)
            effects += self._go_live(replay, channels, self.recent.after(since, channels))
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
        return [*effects, *self.settle_delivered()]

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
        if session in self.held:
            self.held[session].requests.append(HeldRequest(list(names), since, ref, rows, oldest))
            return []
        if oldest:
            replay = Replay(
                session, set(names), Cursor(self._cursor.lineage, FIRST), ref, is_from_oldest=True
            )
            self._begin(replay)
            return [ReadReplay(replay)]
        if since is not None:
            return self._start(Replay(session, set(names), since, ref, rows), names)
        if rows:
            return self._read_states(session, names, ref)
        self.live.begin(session, names)
        return [Subscribed(session, names, (), self._cursor, ref)]

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
        if not replay.can_end_at(self.position.snapshot):
            self.ahead[replay] = None
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
        if session in self.held:
            self.held[session].requests.append(HeldRequest(list(channels), reason, ref))
            return []
        self.live.begin(session, channels)
        return [Reset(session, channels, reason, self._cursor, ref)]

    def restart(self, position: Batch, recent: Recent, reason: ResetReason) -> list[Effect]:
        """Go on from a position that does not continue the last one; every subscription is reset."""
        self.position, self.recent = position, recent
        effects: list[Effect] = []
        for session, channels in self.live.channels.items():
            if channels:
                effects += self.reset(session, tuple(channels), reason, None)
        for replay in [replay for replays in self._replays.values() for replay in replays]:
            effects += self.replay_failed(replay, reason)
        return effects

    def unsubscribe(self, session: SessionId, channels: Iterable[str]) -> None:
        """End subscriptions; a no-op for channels that are not subscribed."""
        for channel in channels:
            if session in self.held:
                self.held[session].drop(channel)
            self.live.end(session, channel)
            for replay in self._replays.get(session, ()):
                before = replay.names
                replay.channels.discard(channel)
                for name in before - replay.names:
                    discard(self.replaying, name, replay)
            for request in [one for one in self._states.get(session, ()) if one.channel == channel]:
                self._drop_request(request)

    def is_replaying(self, session: SessionId, channel: str) -> bool:
        """Return whether a session waits for a replay or the state of a channel."""
        replays, states = self._replays.get(session, ()), self._states.get(session, ())
        return any(channel in one.channels for one in replays) or any(
            channel == one.channel for one in states
        )

    def remembers(self, since: Cursor, channel: str) -> bool:
        """Return whether what followed a cursor on a channel is in memory."""
        return self.recent.reaches(since, (channel,))

    def settle(self, session: SessionId, xid: int) -> list[Effect]:
        """Confirm a transaction once the position is past it: now, or after a later batch."""
        if self.has_settled(xid) and session not in self.held:
            return [Settled(session, xid, self._cursor)]
        self.settling.setdefault(session, {})[xid] = None
        return [ReadNow()]

    def has_settled(self, xid: int) -> bool:
        """Return whether the position is past a transaction, with or without events."""
        return self.position.snapshot.covers(xid)

    def settling_count(self, session: SessionId) -> int:
        """Return how many transactions a session waits for."""
        return len(self.settling.get(session, ()))

    @property
    def count(self) -> int:
        """The number of subscriptions, live or replaying."""
        return sum(map(len, self.live.sessions.values())) + sum(map(len, self.replaying.values()))

    def reset_live(self, resets: Mapping[str, str], before: Cursor, reached: set[SessionId]) -> list[Effect]:
        """Reset the live subscribers of channels, each once per reason."""
        channels: dict[SessionId, list[str]] = {}
        for channel in resets:
            for session in self.live.sessions.get(channel, ()):
                channels.setdefault(session, []).append(channel)
        effects: list[Effect] = []
        for session, found in channels.items():
            effects += self._resets(session, by_reason(resets, found), before, None, session in reached)
        return effects

    def pass_cursor(self, replay: Replay) -> list[Effect]:
        """End a replay whose cursor was ahead of the hub, if the hub is past it now; else read the log."""
        if replay.can_end_at(self.position.snapshot):
            return self._end(replay)
        replay.patience -= 1
        if replay.patience > 0:
            return [ReadNow()]
        if replay.replayed is not None:
            # Its cursor covers a transaction that the hub does not see yet: wait for it.
            return []
        del self.ahead[replay]
        return [ReadReplay(replay)]

    def settle_delivered(self) -> list[Effect]:
        """Confirm the transactions that the position is past."""
        effects: list[Effect] = []
        for session, xids in list(self.settling.items()):
            if session in self.held:
                continue
            for xid in [xid for xid in xids if self.has_settled(xid)]:
                del xids[xid]
                effects.append(Settled(session, xid, self._cursor))
            if not xids:
                del self.settling[session]
        return effects

    def _start(self, replay: Replay, names: tuple[str, ...]) -> list[Effect]:
        since = replay.since
        if not self.recent.reaches(since, names):
            self._begin(replay)
            return [ReadReplay(replay)]
        if replay.can_end_at(self.position.snapshot):
            self._counts.replays_from_memory += 1
            return self._go_live(replay, names, self.recent.after(since, names))
        self._begin(replay)
        self.ahead[replay] = None
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
        self.live.begin(session, rest if replay.wants_rows else channels)
        answers: list[Effect] = []
        if rest or not parted.resets:
            answers.append(Subscribed(session, rest, parted.records, self._cursor, ref, replay.state))
        if replay.wants_rows:
            again = [channel for channel in channels if channel in parted.resets]
            return [*answers, *self._read_states(session, again, ref, replay.attempts + 1)]
        reasons = by_reason(parted.resets, channels)
        return [*self._resets(session, reasons, replay.since, ref, bool(answers)), *answers]

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
        cursors = [before] * len(frames) if has_more else [before] * (len(frames) - 1) + [self._cursor]
        return [
            Reset(session, names, reason, cursor, ref)
            for (reason, names), cursor in zip(frames, cursors, strict=True)
        ]

    def _read_states(
        self, session: SessionId, channels: Iterable[str], ref: int | None, attempts: int = 0
    ) -> list[Effect]:
        requests = [StateRequest(session, channel, ref, attempts) for channel in channels]
        if requests:
            self._states.setdefault(session, {}).update(dict.fromkeys(requests))
        return [ReadState(request) for request in requests]

    def _drop_request(self, request: StateRequest) -> bool:
        is_pending = request in self._states.get(request.session, ())
        discard(self._states, request.session, request)
        return is_pending

    def _begin(self, replay: Replay) -> None:
        self._replays.setdefault(replay.session, {})[replay] = None
        for name in replay.names:
            self.replaying.setdefault(name, {})[replay] = None

    def _end(self, replay: Replay) -> list[Effect]:
        names = tuple(sorted(replay.channels))
        if replay.replayed is not None:
            records = replay.merge(self._cursor)
        elif self.recent.reaches(replay.since, names):
            self._counts.replays_from_memory += 1
            records = self.recent.after(replay.since, names)
        else:  # a batch larger than the memory has pushed the cursor out
            del self.ahead[replay]
            return [ReadReplay(replay)]
        self._finish(replay)
        return self._go_live(replay, names, records)

    def _is_pending(self, replay: Replay) -> bool:
        return replay in self._replays.get(replay.session, ())

    def _finish(self, replay: Replay) -> None:
        self.ahead.pop(replay, None)
        discard(self._replays, replay.session, replay)
        for name in replay.names:
            discard(self.replaying, name, replay)
