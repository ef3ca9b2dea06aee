"""Replays: read the log for the replays of all sessions, one read for all that wait.

When a server restarts, thousands of clients reconnect at once, each with its own cursor. One read from the
*meet* of their cursors, over all their channels, returns the events that each of them has missed; so the
replays of all clients cost a handful of queries.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import TypeAlias, assert_never

from flowcraft.core.hub_effects import Effect, SessionId
from flowcraft.core.replay import Replay
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.errors import CursorExpired, CursorRewound, CursorUnreadable, CursorUnusable, LogUnavailable
from flowcraft.ports import EventLog
from flowcraft.records import Batch, Limit, Record
from flowcraft.runtime.delivery import Delivery
from flowcraft.runtime.isolation import Isolation, is_stopping
from flowcraft.runtime.sender import Sender
from flowcraft.runtime.supervisor import Supervisor
from flowcraft.settings import Settings

_Range: TypeAlias = tuple[Snapshot, frozenset[str]]
"""The range of a replay: its cursor, and its channels now; a client may unsubscribe during the read."""
Answer: TypeAlias = Batch | CursorUnusable | LogUnavailable
SLICE = 10
"""Replays that are answered at a turn of the event loop: about a millisecond before everything else's turn.

A live event takes some five turns, so replays delay it by about five milliseconds.
"""
LONGEST_PAUSE_SECONDS = 0.25
"""The longest pause between two reads."""
PAUSE_SECONDS_EACH = 0.01
"""The pause before the next read, for each replay in the last one: while many clients reconnect, one read
serves more of them.
"""
MOST_FAILURES = 64
"""Failed reads for one group of replays, after which the rest is answered with a reset.

To find one bad replay among ten thousand by halving takes 14 reads; a log that fails for all of them must not
be read ten thousand times.
"""


class Replays:
    """Takes replays, and passes each on with its records or its error."""

    def __init__(
        self,
        log: EventLog,
        supervisor: Supervisor,
        answer: Callable[[Sequence[tuple[Replay, Answer]]], None],
        settings: Settings,
        isolation: Isolation,
    ) -> None:
        """Read nothing yet. `answer` must not raise because of one of several replays."""
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
        """Have a replay answered by the next read."""
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
                for replays in by_lineage.values():
                    await self._serve_all(replays)
        finally:
            self._working = False

    async def _serve_all(self, replays: list[Replay]) -> None:
        """Answer each of the replays, also if the reads fail in a way that is not foreseen."""
        self._unanswered = dict.fromkeys(replays)
        try:
            await self._serve(replays)
        except (Exception, asyncio.CancelledError) as error:
            if is_stopping():
                raise
            self._isolation.report("replay", f"a replay for {len(self._unanswered)} connections", error)
        for replay in list(self._unanswered):
            with self._isolation.guard(
                "replay", f"the answer to {self._isolation.connection(replay.session)}"
            ):
                self._answer([(replay, CursorUnreadable(str(replay.since)))])

    async def _serve(self, replays: list[Replay]) -> None:
        """Answer replays of one lineage by as few reads as possible.

        A read that exceeds the limit is split, and the half with the newer cursors is read first. A replay
        that includes a range that exceeded the limit alone is not read. A read that fails is split as well,
        until the failing replay is found.
        """
        parts, failures = [replays], 0
        excessive_ranges: set[_Range] = set()
        while parts:
            excessive, part = _partition(
                parts.pop(), lambda c: any(_includes(c, range_) for range_ in excessive_ranges)
            )
            await self._answer_all(excessive, lambda c: CursorExpired(str(c.since)))
            if not part:
                continue
            ranges = _ranges(part)
            try:
                batch = await self._read(part)
            except CursorExpired as error:
                if error.floor is None and len(ranges) == 1:
                    excessive_ranges.update(ranges)
                parts += await self._without_expired(part, error)
            except CursorRewound as error:
                parts += await self._without_lost(part, error)
            except (CursorUnusable, LogUnavailable) as error:
                await self._answer_all(part, lambda _, error=error: error)  # type: ignore[misc]
            except (Exception, asyncio.CancelledError) as error:
                if is_stopping():
                    raise
                failures += 1
                parts += await self._without_failing(part, error, is_last=failures >= MOST_FAILURES)
            else:
                await self._share(part, batch)

    async def _read(self, replays: Sequence[Replay]) -> Batch:
        self._counts.replay_reads += 1
        since = reduce(Cursor.meet, {c.since for c in replays})
        channels = sorted({name for c in replays for name in c.names})
        return await self._log.replay(since, channels, limit=self._limit)

    async def _without_expired(self, replays: list[Replay], error: CursorExpired) -> list[list[Replay]]:
        """Answer replays whose cursor is too old, or split those that exceed the limit; return the rest."""
        if error.floor is not None:
            floor = error.floor
            expired, rest = _partition(replays, lambda c: c.since.snapshot.xmin < floor)
            oldest, expired = _partition(expired, lambda c: c.is_from_oldest)
            for replay in oldest:
                replay.begin_at(floor)
            if not oldest and not expired:
                expired, rest = replays, []
            await self._answer_all(expired, lambda c: CursorExpired(str(c.since), floor))
            return [part for part in (rest, oldest) if part]
        if len(_ranges(replays)) == 1:
            return [replays]  # excessive now, unless a client has unsubscribed meanwhile
        return _halves(replays)

    async def _without_lost(self, replays: list[Replay], error: CursorRewound) -> list[list[Replay]]:
        """Answer replays whose cursors have seen what is lost; return the rest."""
        lost, rest = _partition(replays, lambda c: not error.lost.isdisjoint(c.since.marks))
        await self._answer_all(lost or replays, lambda c: CursorRewound(str(c.since)))
        return [rest] if lost else []

    async def _without_failing(
        self, replays: list[Replay], error: BaseException, *, is_last: bool
    ) -> list[list[Replay]]:
        """Answer replays whose read fails alone, or split them; return the rest."""
        if len(_ranges(replays)) > 1 and not is_last:
            return _halves(replays)
        names = ", ".join([self._isolation.connection(c.session) for c in replays[:SLICE]])
        more = ", …" if len(replays) > SLICE else ""
        channels = ", ".join(sorted({name for c in replays[:SLICE] for name in c.channels})[:SLICE])
        self._isolation.report("replay", f"the replay of {channels} for {names}{more}", error)
        await self._answer_all(replays, lambda c: CursorUnreadable(str(c.since)))
        return []

    async def _share(self, replays: Iterable[Replay], batch: Batch) -> None:
        by_channel: dict[str, list[Record]] = defaultdict(list)
        batch = batch.readable()
        for record in batch.records:
            by_channel[record.channel].append(record)

        def part_of(replay: Replay) -> Answer:
            if replay.since.snapshot.xmax > batch.snapshot.xmax:
                # A read of this replay alone would raise this.
                return CursorRewound(str(replay.since))
            found = [by_channel[name] for name in replay.names if name in by_channel]
            records = [record for part in found for record in part]
            if len(found) > 1:
                records.sort(key=lambda record: record.id)
            return replace(batch, records=tuple(records))

        await self._answer_all(replays, part_of)

    async def _answer_all(self, replays: Iterable[Replay], answer_to: Callable[[Replay], Answer]) -> None:
        rest = list(replays)
        while rest:
            part, rest = rest[:SLICE], rest[SLICE:]
            self._answer([(replay, self._answer_to(replay, answer_to)) for replay in part])
            for replay in part:
                self._unanswered.pop(replay, None)
            await asyncio.sleep(0)

    def _answer_to(self, replay: Replay, answer_to: Callable[[Replay], Answer]) -> Answer:
        answer = self._isolation.attempt(
            "replay",
            f"the replay for {self._isolation.connection(replay.session)}",
            lambda: answer_to(replay),
        )
        return CursorUnreadable(str(replay.since)) if answer is None else answer


class ReplayAnswers:
    """Passes the answers of `Replays` to the hub. A replay that fails is reset, or its connection closed."""

    def __init__(
        self,
        delivery: Delivery,
        senders: Mapping[SessionId, Sender],
        isolation: Isolation,
        reconnect: Callable[[SessionId], None],
    ) -> None:
        """`reconnect` drains one client: its replay cannot be read now."""
        self._delivery = delivery
        self._senders = senders
        self._isolation = isolation
        self._reconnect = reconnect

    def take(self, answers: Sequence[tuple[Replay, Answer]]) -> None:
        """Pass answers to the hub in one step, so that each record is encoded once."""
        effects: list[Effect] = []
        for replay, answer in answers:
            try:
                effects += self._answered(replay, answer)
            except Exception as error:  # noqa: BLE001  # reported there
                effects += self._give_up(replay, error)
        self._delivery.perform(effects)

    def _answered(self, replay: Replay, answer: Answer) -> list[Effect]:
        subscriptions = self._delivery.subscriptions
        match answer:
            case Batch():
                effects = subscriptions.replayed(replay, answer)
                self._isolation.counts.replays_from_log += 1
                return effects
            case CursorUnusable():
                return subscriptions.replay_failed(replay, answer.reason)
            case LogUnavailable():
                self._reconnect(replay.session)
                return []
        assert_never(answer)

    def _give_up(self, replay: Replay, error: Exception) -> list[Effect]:
        """Reset a replay with which the hub failed; if that fails too, close its connection."""
        name = self._isolation.connection(replay.session)
        self._isolation.report("replay", f"the replay for {name}", error)
        subscriptions = self._delivery.subscriptions
        effects = self._isolation.attempt(
            "replay", f"the reset of {name}", lambda: subscriptions.replay_failed(replay, "unreadable")
        )
        sender = self._senders.get(replay.session)
        if not effects and sender is not None:
            sender.fail(error)
        return effects or []


def _partition(
    replays: Iterable[Replay], matches: Callable[[Replay], bool]
) -> tuple[list[Replay], list[Replay]]:
    """Return the replays that match, and the others; each in their order."""
    matching: list[Replay] = []
    others: list[Replay] = []
    for replay in replays:
        (matching if matches(replay) else others).append(replay)
    return matching, others


def _ranges(replays: Iterable[Replay]) -> set[_Range]:
    return {(c.since.snapshot, frozenset(c.channels)) for c in replays}


def _includes(replay: Replay, range_: _Range) -> bool:
    """Return whether a replay reads a whole range: from its cursor or an older one, on all its channels."""
    cursor, channels = range_
    return replay.channels >= channels and cursor.contains(replay.since.snapshot)


def _halves(replays: list[Replay]) -> list[list[Replay]]:
    """Return two parts of replays with more than one range: the one with the older cursors first."""
    replays.sort(key=lambda c: (c.since.snapshot.xmin, c.since.snapshot.xmax, sorted(c.channels)))
    middle = _boundary(replays)
    return [replays[:middle], replays[middle:]]  # the last part is read first


def _boundary(replays: Sequence[Replay]) -> int:
    """Return the middle of sorted replays, moved so that replays of one range stay together."""
    middle = len(replays) // 2
    wanted = (replays[middle].since.snapshot, replays[middle].channels)
    while middle > 0 and (replays[middle - 1].since.snapshot, replays[middle - 1].channels) == wanted:
        middle -= 1
    if middle:
        return middle
    return next(n for n, c in enumerate(replays) if (c.since.snapshot, c.channels) != wanted)
