"""A node whose reads and answers happen when a script says so, and what its clients hear."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from flowcraft.adapters.memory import MemoryLog
from flowcraft.core.counts import Counts
from flowcraft.core.hub import Hub
from flowcraft.core.hub_effects import Deliver, Effect, ReadNow, ReadReplay, Reset, Subscribed
from flowcraft.core.replay import Replay
from flowcraft.cursors import Cursor, ResetReason
from flowcraft.errors import CursorRewound, CursorUnusable
from flowcraft.records import Batch, Limit, Record
from flowcraft.runtime.isolation import Isolation
from flowcraft.runtime.replays import Answer, Replays
from flowcraft.runtime.supervisor import Supervisor
from flowcraft.settings import Settings


@dataclass
class Reader:
    """One subscription of one session, as a client keeps it: by the `ref` of its request."""

    session: int
    ref: int
    channels: set[str]
    since: Cursor | None
    is_live: bool = False
    answers: int = 0
    resets: list[str] = field(default_factory=list[str])
    got: list[Record] = field(default_factory=list[Record])

    def start_at(self, cursor: Cursor, reason: str) -> None:
        self.since, self.got = cursor, []
        self.resets.append(reason)


class Clients:
    """Applies effects as clients do: a replay belongs to its `ref`, live events to every live reader."""

    def __init__(self) -> None:
        self.readers: dict[int, Reader] = {}

    def apply(self, effect: Effect) -> None:
        match effect:
            case Subscribed(session, _, records, cursor, ref):
                reader = self._answered(session, ref)
                reader.since = reader.since or cursor
                self._hear(reader, records)
            case Reset(session, _, reason, cursor, int(ref)):
                self._answered(session, ref).start_at(cursor, reason)
            case Reset(session, channels, reason, cursor, None):
                for reader in self._live(session):
                    assert reader.channels <= set(channels)
                    reader.start_at(cursor, reason)
            case Deliver(records, _, _, to):
                assert len(set(to)) == len(to)
                for reader in [reader for session in to for reader in self._live(session)]:
                    self._hear(reader, records)
            case _:
                raise AssertionError(effect)

    def _live(self, session: int) -> list[Reader]:
        return [r for r in self.readers.values() if r.session == session and r.is_live]

    def _answered(self, session: int, ref: int | None) -> Reader:
        assert ref is not None
        reader = self.readers[ref]
        assert reader.session == session
        reader.answers += 1
        reader.is_live = True
        return reader

    def _hear(self, reader: Reader, records: Iterable[Record]) -> None:
        reader.got += [record for record in records if record.channel in reader.channels]


class HeldLog(MemoryLog):
    """A log that reads at once and answers when it is told to, as a database far away."""

    def __init__(self) -> None:
        super().__init__()
        self.held: deque[asyncio.Event] = deque()
        self.on_read: Callable[[], None] = lambda: None

    def newest(self) -> Record | None:
        """The last event that is there: the witness of `PostgresLog`."""
        return self._records[-1] if self._records else None

    def has_not_lost(self, record: Record | None) -> bool:
        """Whether an event is still there, or was removed because it is old."""
        return record is None or record in self._records or record.xid < self._floor

    async def replay(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        answer: Batch | CursorUnusable
        self.on_read()
        try:
            answer = self.replay_now(after, channels, limit=limit)
        except CursorUnusable as error:
            answer = error
        self.held.append(held := asyncio.Event())
        await held.wait()
        if isinstance(answer, CursorUnusable):
            raise answer
        return answer


class SteppedNode:
    """A relay, a hub and replays in steps: a read and what is done with it are two, and much happens between.

    `judge` tells for a catch-up, at the moment of a read, how the log may answer it.
    """

    def __init__(
        self,
        log: HeldLog,
        settings: Settings,
        judge: Callable[[Replay], set[ResetReason | None]],
        runner: asyncio.Runner,
    ) -> None:
        self.log = log
        self.settings = settings
        self.hub = Hub(log.position_now(), settings)
        self.clients = Clients()
        self.clock = 0.0
        self._runner = runner
        self._supervisor = Supervisor()
        counts = Counts()
        self._replays = Replays(log, self._supervisor, self._answer, settings, Isolation(counts, {}))
        self._judge = judge
        self._verdicts: dict[Replay, set[ResetReason | None]] = {}
        self._newest: Record | None = None
        self._asked: deque[Replay] = deque()
        self._to_feed: Callable[[], list[Effect]] | None = None
        log.on_read = self._note_verdicts

    def perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, ReadReplay):
                self._ask(effect.replay)
            elif not isinstance(effect, ReadNow):  # the relay reads when the script says so
                self.clients.apply(effect)

    def relay_reads(self) -> None:
        """Read as the relay does, unless its last batch still waits to be fed."""
        if self._to_feed is not None:
            return
        after = self.hub.cursor
        try:
            if not self.log.has_not_lost(self._newest):
                raise CursorRewound(str(after))
            batch = self.log.tail_now(after, limit=Limit(self.settings.backlog_events))
        except CursorRewound as error:
            self._begin_anew(self.log.rewound_now(after), error.reason)
        except CursorUnusable as error:
            self._begin_anew(self.log.position_now(), error.reason)
        else:
            self._newest = max(batch.records, key=lambda record: record.xid, default=self._newest)
            self._to_feed = lambda: self.hub.broadcast(batch, self.clock)

    def relay_feeds(self) -> None:
        step, self._to_feed = self._to_feed, None
        if step is not None:
            self.perform(step())

    def replays_read(self) -> None:
        """Let those that asked be read for, until a read waits or nobody asks."""

        async def turn() -> None:
            for _ in range(30):
                while self._asked:
                    self._replays.add(self._asked.popleft())
                await asyncio.sleep(0)

        self._runner.run(turn())

    def a_replay_is_brought(self) -> None:
        """Let the oldest read that waits be answered."""
        if self.log.held:
            self.log.held.popleft().set()
            self.replays_read()

    def _begin_anew(self, start: Batch, reason: ResetReason) -> None:
        self._newest = self.log.newest()
        self._to_feed = lambda: self.hub.restart(start, reason)

    def _ask(self, replay: Replay) -> None:
        self._verdicts[replay] = set()
        self._asked.append(replay)

    def _note_verdicts(self) -> None:
        for replay, verdicts in self._verdicts.items():
            verdicts.update(self._judge(replay))

    def _answer(self, answers: Sequence[tuple[Replay, Answer]]) -> None:
        for replay, answer in answers:
            verdicts = self._verdicts.pop(replay)
            if isinstance(answer, Batch):
                assert None in verdicts, (replay, verdicts)
                self.perform(self.hub.subscriptions.replayed(replay, answer))
            else:
                assert isinstance(answer, CursorUnusable)
                assert answer.reason in verdicts, (replay, answer)
                self.perform(self.hub.subscriptions.replay_failed(replay, answer.reason))
