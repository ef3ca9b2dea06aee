"""Replays: read the log for everybody who catches up, one read at a time for all who wait for it.

When a server restarts, thousands come back at once, each with a cursor of its own. A read from the *meet* of
their cursors, over all their channels, holds what each of them lacks; so a herd costs a handful of queries.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import reduce
from typing import TypeAlias

from flowcraft.core.replay import Replay
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.errors import CursorExpired, CursorRewound, CursorUnreadable, CursorUnusable, LogUnavailable
from flowcraft.ports import EventLog
from flowcraft.records import Batch, Limit, Record
from flowcraft.runtime.isolation import Isolation, is_stopping
from flowcraft.runtime.supervisor import Supervisor
from flowcraft.settings import Settings

_Want: TypeAlias = tuple[Snapshot, frozenset[str]]
"""What a catch-up asks of the log, as it is now: its client may unsubscribe while it is read for."""
Answer: TypeAlias = Batch | CursorUnusable | LogUnavailable
SLICE = 10
"""Catch-ups of about a millisecond between two turns of everything else; an event takes some five turns."""
LONGEST_PAUSE_SECONDS = 0.25
PAUSE_SECONDS_EACH = 0.01
"""While a herd arrives, a read waits for more of it: the longer, the more the last one served."""
MOST_FAILURES = 64
"""Reads of one herd that may fail before all that is left of it is answered: to find one catch-up among ten
thousand takes 14, and a log that fails for all must not be asked ten thousand times."""


class Replays:
    """Takes catch-ups, and gives back each with what the log says to it."""

    def __init__(
        self,
        log: EventLog,
        supervisor: Supervisor,
        answer: Callable[[Sequence[tuple[Replay, Answer]]], None],
        settings: Settings,
        isolation: Isolation,
    ) -> None:
        """Prepare it; `answer` must not raise for one what the others then do not get."""
        self._counts = isolation.counts
        self._isolation = isolation
        self._unanswered: dict[Replay, None] = {}
        self._log = log
        self._supervisor = supervisor
        self._answer = answer
        self._limit = Limit(settings.replay_events, settings.replay_bytes)
        self._waiting: list[Replay] = []
        self._working = False

    def add(self, replay: Replay) -> None:
        """Have a catch-up answered by the next read."""
        self._waiting.append(replay)
        if not self._working:
            self._working = True
            self._supervisor.spawn(self._work(), "replays")

    async def _work(self) -> None:
        try:
            pause = 0.0
            while self._waiting:
                await asyncio.sleep(pause)
                waiting, self._waiting = self._waiting, []
                pause = min(LONGEST_PAUSE_SECONDS, PAUSE_SECONDS_EACH * len(waiting))
                by_lineage: dict[Lineage, list[Replay]] = defaultdict(list)
                for replay in waiting:
                    by_lineage[replay.since.lineage].append(replay)
                for herd in by_lineage.values():
                    await self._serve_all(herd)
        finally:
            self._working = False

    async def _serve_all(self, herd: list[Replay]) -> None:
        """Answer every one of a herd, whatever happens on the way."""
        self._unanswered = dict.fromkeys(herd)
        try:
            await self._serve(herd)
        except (Exception, asyncio.CancelledError) as error:
            if is_stopping():
                raise
            self._isolation.report("replay", f"a replay for {len(self._unanswered)} connections", error)
        for replay in list(self._unanswered):
            with self._isolation.guard("replay", f"the answer to connection {replay.session}"):
                self._answer([(replay, CursorUnreadable(str(replay.since)))])

    async def _serve(self, herd: list[Replay]) -> None:
        """Answer a herd, all of one lineage, by as few reads as it takes.

        A read that is too long is split, the younger half first: those that want as much as one that wanted
        too much are not asked for again. So is one that fails, until it is known whose it is.
        """
        parts, failures = [herd], 0
        too_much: set[_Want] = set()
        while parts:
            hopeless, part = _parted(parts.pop(), lambda c: any(_wants_as_much(c, want) for want in too_much))
            await self._tell_all(hopeless, lambda c: CursorExpired(str(c.since)))
            if not part:
                continue
            wants = _wants(part)
            try:
                batch = await self._read(part)
            except CursorExpired as error:
                if error.floor is None and len(wants) == 1:
                    too_much.update(wants)
                parts += await self._without_expired(part, error)
            except (CursorUnusable, LogUnavailable) as error:
                await self._tell_all(part, lambda _, error=error: error)  # type: ignore[misc]
            except (Exception, asyncio.CancelledError) as error:
                if is_stopping():
                    raise
                failures += 1
                parts += await self._without_failing(part, error, is_last=failures >= MOST_FAILURES)
            else:
                await self._share(part, batch)

    async def _read(self, herd: Sequence[Replay]) -> Batch:
        self._counts.replay_reads += 1
        since = Cursor(herd[0].since.lineage, reduce(Snapshot.meet, {c.since.snapshot for c in herd}))
        channels = sorted({channel for c in herd for channel in c.channels})
        return await self._log.replay(since, channels, limit=self._limit)

    async def _without_expired(self, herd: list[Replay], error: CursorExpired) -> list[list[Replay]]:
        """Answer those that are too old, or split what is too much; return what is left to be read."""
        if error.floor is not None:
            floor = error.floor
            expired, rest = _parted(herd, lambda c: c.since.snapshot.xmin < floor)
            await self._tell_all(expired or herd, lambda c: CursorExpired(str(c.since), floor))
            return [rest] if expired else []
        if len(_wants(herd)) == 1:
            return [herd]  # they are hopeless now, or have unsubscribed meanwhile from what made it too much
        return _halves(herd)

    async def _without_failing(
        self, herd: list[Replay], error: BaseException, *, is_last: bool
    ) -> list[list[Replay]]:
        """Answer those whose read fails by itself, or split it; return what is left to be read."""
        if len(_wants(herd)) > 1 and not is_last:
            return _halves(herd)
        sessions = ", ".join([str(c.session) for c in herd[:SLICE]]) + (", …" if len(herd) > SLICE else "")
        channels = ", ".join(sorted({name for c in herd[:SLICE] for name in c.channels})[:SLICE])
        self._isolation.report("replay", f"the replay of {channels} for connection {sessions}", error)
        await self._tell_all(herd, lambda c: CursorUnreadable(str(c.since)))
        return []

    async def _share(self, herd: Iterable[Replay], batch: Batch) -> None:
        by_channel: dict[str, list[Record]] = defaultdict(list)
        for record in batch.records:
            by_channel[record.channel].append(record)

        def part_of(replay: Replay) -> Answer:
            if replay.since.snapshot.xmax > batch.snapshot.xmax:  # read alone, the log would have said so
                return CursorRewound(str(replay.since))
            if any(replay.wants(event) for event in batch.unreadable):
                return CursorUnreadable(str(replay.since))
            records = [r for channel in replay.channels for r in by_channel.get(channel, ())]
            if len(replay.channels) > 1:
                records.sort(key=lambda record: record.id)
            return replace(batch, records=tuple(records))

        await self._tell_all(herd, part_of)

    async def _tell_all(self, herd: Iterable[Replay], tell: Callable[[Replay], Answer]) -> None:
        rest = list(herd)
        while rest:
            part, rest = rest[:SLICE], rest[SLICE:]
            self._answer([(replay, self._told(replay, tell)) for replay in part])
            for replay in part:
                self._unanswered.pop(replay, None)
            await asyncio.sleep(0)

    def _told(self, replay: Replay, tell: Callable[[Replay], Answer]) -> Answer:
        answer = self._isolation.attempt(
            "replay", f"the replay for connection {replay.session}", lambda: tell(replay)
        )
        return CursorUnreadable(str(replay.since)) if answer is None else answer


def _parted(herd: Iterable[Replay], belongs: Callable[[Replay], bool]) -> tuple[list[Replay], list[Replay]]:
    """Those of whom something is so, and the others; each in their order."""
    those: list[Replay] = []
    others: list[Replay] = []
    for replay in herd:
        (those if belongs(replay) else others).append(replay)
    return those, others


def _wants(herd: Iterable[Replay]) -> set[_Want]:
    return {(c.since.snapshot, frozenset(c.channels)) for c in herd}


def _wants_as_much(replay: Replay, want: _Want) -> bool:
    """Whether it is no younger than that, on all of its channels at least."""
    seen, channels = want
    return replay.channels >= channels and seen.contains(replay.since.snapshot)


def _halves(herd: list[Replay]) -> list[list[Replay]]:
    """Two parts of a herd that wants more than one thing: the older first."""
    herd.sort(key=lambda c: (c.since.snapshot.xmin, c.since.snapshot.xmax, sorted(c.channels)))
    middle = _boundary(herd)
    return [herd[:middle], herd[middle:]]  # the last one is read first


def _boundary(herd: Sequence[Replay]) -> int:
    """The middle of a sorted herd, moved so that those who want the same stay together."""
    middle = len(herd) // 2
    wanted = (herd[middle].since.snapshot, herd[middle].channels)
    while middle > 0 and (herd[middle - 1].since.snapshot, herd[middle - 1].channels) == wanted:
        middle -= 1
    if middle:
        return middle
    return next(n for n, c in enumerate(herd) if (c.since.snapshot, c.channels) != wanted)
