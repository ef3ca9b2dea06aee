"""Hub: hold the position in the log, and fan committed records out to the sessions that subscribe.

Live sessions get every batch, closed by a commit point. What sessions request, and how that is answered, is
in `subscriptions.py`. Every method returns effects; none of them waits.
"""

from __future__ import annotations

from collections.abc import Iterable

from flowcraft.core.counts import Counts
from flowcraft.core.hub_effects import Deliver, DeliverEphemeral, Effect, SessionId
from flowcraft.core.kinds import part
from flowcraft.core.recent import Recent
from flowcraft.core.subscriptions import Subscriptions
from flowcraft.cursors import Cursor, ResetReason
from flowcraft.records import Batch, Ephemeral, Kind, Record
from flowcraft.settings import Settings

_EVENT = Kind.EVENT


class Hub:
    """Fans committed records out to sessions. It holds positions and subscriptions, never a connection."""

    def __init__(self, start: Batch, settings: Settings | None = None, counts: Counts | None = None) -> None:
        self._settings = settings or Settings()
        self.subscriptions = Subscriptions(start, Recent(start.cursor, self._settings), counts or Counts())
        """What the sessions have requested. It is answered at this hub's position."""

    @property
    def cursor(self) -> Cursor:
        """The position: live sessions have been sent every event up to it."""
        return self.subscriptions.position.cursor

    def subscriber_count(self, channel: str) -> int:
        """Return how many sessions are live on a channel."""
        return len(self.subscriptions.live.sessions.get(channel, ()))

    def broadcast(self, batch: Batch, now: float = 0.0) -> list[Effect]:
        """Move to the position of a batch and fan out its records. `now` is monotonic, in seconds."""
        if batch.unreadable:
            batch = batch.readable()
        subscriptions, before = self.subscriptions, self.cursor
        subscriptions.position = batch
        subscriptions.recent.add(batch, now)
        for record in batch.records:
            for replay in subscriptions.replaying.get(record.channel, ()):
                replay.missed.append(record)
        effects = self._deliveries(batch, before)
        for replay in list(subscriptions.ahead):
            effects += subscriptions.pass_cursor(replay)
        if subscriptions.settling:
            effects += subscriptions.settle_delivered()
        return effects

    def broadcast_ephemeral(self, event: Ephemeral) -> list[Effect]:
        """Fan out an ephemeral event to the sessions that are live now."""
        to = tuple(self.subscriptions.live.sessions.get(event.channel, ()))
        return [DeliverEphemeral(event, to)] if to else []

    def restart(self, start: Batch, reason: ResetReason) -> list[Effect]:
        """Restart from a position that does not continue the last one; every subscription is reset."""
        return self.subscriptions.restart(start, Recent(start.cursor, self._settings), reason)

    def heartbeat(self, sessions: Iterable[SessionId] | None = None) -> list[Effect]:
        """Send the position to some sessions, or to all, also when there were no events."""
        all_, held = self.subscriptions.live.channels, self.subscriptions.held
        some = all_ if sessions is None else [session for session in sessions if session in all_]
        to = tuple([session for session in some if session not in held])
        return [Deliver((), self.cursor, self.subscriptions.position.at, to)] if to else []

    def _deliveries(self, batch: Batch, before: Cursor) -> list[Effect]:
        if all(record.kind is _EVENT for record in batch.records):  # nearly every batch: nothing to part
            return list(self._deliver(batch, batch.records))
        families = self.subscriptions.live.families
        parted = part(batch.records, lambda family: families.get(family, ()))
        groups = self._deliver(batch, parted.records)
        reached = {session for group in groups for session in group.to}
        return [*self.subscriptions.reset_live(parted.resets, before, reached), *groups]

    def _deliver(self, batch: Batch, records: tuple[Record, ...]) -> list[Deliver]:
        live = self.subscriptions.live.sessions
        channels = {record.channel for record in records}
        if len(channels) == 1:  # by far the most common batch: all recipients get the same records
            to = tuple(live.get(channels.pop(), ()))
            return [Deliver(records, batch.cursor, batch.at, to)] if to else []
        by_session: dict[SessionId, list[Record]] = {}
        for record in records:
            for session in live.get(record.channel, ()):
                by_session.setdefault(session, []).append(record)
        # Sessions that get the same records share one effect, and so the encoded bytes.
        groups: dict[tuple[int, ...], tuple[list[Record], list[SessionId]]] = {}
        for session, found in by_session.items():
            key = tuple(map(id, found))
            groups.setdefault(key, (found, []))[1].append(session)
        return [Deliver(tuple(found), batch.cursor, batch.at, tuple(to)) for found, to in groups.values()]
