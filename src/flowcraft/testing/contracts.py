"""Contracts: what every log must do. Subclass, say how to make one, and run pytest (with pytest-asyncio).

class TestMyLog(EventLogContract):
    @pytest.fixture
    def log(self) -> AppendableLog:
        return MyLog()
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Iterable
from dataclasses import replace
from itertools import count
from typing import Protocol, TypeVar

import pytest

from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.errors import CursorExpired, CursorOfOtherDatabase, CursorRewound
from flowcraft.ports import EventLog
from flowcraft.records import Limit, Record

T = TypeVar("T")


class Transaction(Protocol):
    """A transaction that writes events. Its id is drawn when it begins, those of events when emitted."""

    @property
    def xid(self) -> int: ...

    def emit(self, channel: str, payload: str) -> Awaitable[None] | None: ...

    def commit(self) -> Awaitable[None] | None: ...

    def rollback(self) -> Awaitable[None] | None: ...


class AppendableLog(EventLog, Protocol):
    """A log that a test can write to, with methods that are plain or asynchronous."""

    def begin(self) -> Transaction | Awaitable[Transaction]:
        """Start a transaction beside those that run already."""
        ...

    def trim(self, *, before: int) -> object:
        """Remove the events of transactions below `before`, as far as all of these have finished."""
        ...


class EventLogContract:
    """The promise of `ports.EventLog`, as sentences."""

    @pytest.fixture
    def log(self) -> AppendableLog:
        raise NotImplementedError("override this fixture: return the log, empty")

    async def test_nothing_follows_the_position_of_an_idle_log(self, log: AppendableLog) -> None:
        position = await log.position()
        batch = await log.read(position.cursor)
        assert (position.records, batch.records, batch.cursor) == ((), (), position.cursor)

    async def test_a_committed_transaction_is_read_once_whole_and_in_order(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        await _commit(log, "runs.1 a", "run_update b", "runs.1 c")
        batch = await log.read(start)
        assert _texts(batch.records) == ["runs.1 a", "run_update b", "runs.1 c"]
        assert (await log.read(batch.cursor)).records == ()

    async def test_what_is_not_committed_is_not_read(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        transaction = await _begin(log, "runs.1 a")
        assert (await log.read(start)).records == ()
        await _done(transaction.rollback())
        assert (await log.read(start)).records == ()

    async def test_a_transaction_that_commits_late_is_read_then(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        late = await _begin(log, "runs.1 late")
        await _commit(log, "runs.1 early")
        first = await log.read(start)
        await _done(late.commit())
        second = await log.read(first.cursor)
        assert (_texts(first.records), _texts(second.records)) == (["runs.1 early"], ["runs.1 late"])
        assert first.cursor.snapshot.xip == {late.xid}
        assert second.cursor.snapshot.xip == frozenset()

    async def test_a_position_taken_while_a_transaction_runs_does_not_cover_it(
        self, log: AppendableLog
    ) -> None:
        late = await _begin(log, "runs.1 late")
        await _commit(log, "runs.1 early")
        position = await log.position()
        await _done(late.commit())
        assert not position.cursor.covers(late.xid)
        assert _texts((await log.read(position.cursor)).records) == ["runs.1 late"]

    async def test_what_became_visible_together_is_ordered_by_id(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        older, newer = await _begin(log), await _begin(log)
        for transaction, text in ((newer, "1"), (older, "2"), (newer, "3")):
            await _done(transaction.emit("runs.1", text))
        await _done(newer.commit())
        await _done(older.commit())
        records = (await log.read(start)).records
        assert _texts(records) == ["runs.1 1", "runs.1 2", "runs.1 3"]
        assert [record.xid for record in records] == [newer.xid, older.xid, newer.xid]
        assert sorted(record.id for record in records) == [record.id for record in records]

    async def test_a_payload_is_returned_as_it_was_stored(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        payloads = ['{ "b":1,\n"a":1.0 }', '"\\u2028 \u2028 🚀"', "9007199254740993", f'"{"x" * 200_000}"']
        await _commit(log, *(f"runs.1 {payload}" for payload in payloads))
        assert [record.payload for record in (await log.read(start)).records] == payloads

    async def test_a_read_of_some_channels_ends_at_the_same_cursor(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        running = await _begin(log, "runs.1 running")
        await _commit(log, "runs.1 a", "runs.2 b")
        await _commit(log, "runs.3 c")
        everything = await log.read(start)
        some = await log.read(start, channels=["runs.1", "runs.2", "runs.9"])
        none = await log.read(start, channels=[])
        assert _texts(some.records) == ["runs.1 a", "runs.2 b"]
        assert none.records == ()
        assert some.cursor == none.cursor == everything.cursor
        await _done(running.commit())
        assert _texts((await log.read(some.cursor, channels=["runs.1"])).records) == ["runs.1 running"]
        assert (await log.read(some.cursor, channels=["runs.2"])).records == ()

    async def test_more_than_the_limit_is_too_much_to_replay(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        await _commit(log, "runs.1 a", "runs.2 b", "runs.1 c")
        assert len((await log.read(start, limit=Limit(3))).records) == 3
        assert len((await log.read(start, channels=["runs.1"], limit=Limit(2))).records) == 2
        with pytest.raises(CursorExpired):
            await log.read(start, limit=Limit(2))
        with pytest.raises(CursorExpired):
            await log.read(start, channels=["runs.1"], limit=Limit(1))

    async def test_more_than_the_limit_of_bytes_is_too_much_to_replay(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        await _commit(log, "runs.1 ä", "runs.2 ö", "runs.1 üü", "runs.1 ß")
        whole = (await log.read(start, channels=["runs.1"])).records
        size = sum(len(record.payload.encode()) for record in whole)
        assert (await log.read(start, channels=["runs.1"], limit=Limit(100, size))).records == whole
        for too_little in (1, size // 2, size - 1):
            with pytest.raises(CursorExpired):
                await log.read(start, channels=["runs.1"], limit=Limit(100, too_little))

    async def test_a_cursor_survives_the_way_to_a_client_and_back(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        running = [await _begin(log, f"runs.1 {n}") for n in range(3)]
        await _commit(log, "runs.1 last")
        cursor = (await log.read(start)).cursor
        for transaction in running:
            await _done(transaction.commit())
        returned = Cursor.parse(str(cursor))
        assert returned == cursor
        assert _texts((await log.read(returned)).records) == ["runs.1 0", "runs.1 1", "runs.1 2"]

    async def test_a_cursor_claims_no_transaction_beyond_the_newest_event(self, log: AppendableLog) -> None:
        written = await _commit(log, "runs.1 a")
        silent = await _commit(log)
        batch = await log.position()
        assert batch.cursor.snapshot == Snapshot(written + 1)
        assert batch.snapshot.covers(silent)
        assert not batch.cursor.covers(silent)

    async def test_a_read_tells_which_transactions_are_settled(self, log: AppendableLog) -> None:
        running = await _begin(log)
        silent = await _commit(log)
        start = await log.position()
        assert (start.snapshot.covers(silent), start.snapshot.covers(running.xid)) == (True, False)
        await _done(running.rollback())
        assert (await log.read(start.cursor)).snapshot.covers(running.xid)

    async def test_the_time_of_a_read_names_its_zone(self, log: AppendableLog) -> None:
        position = await log.position()
        assert position.at.utcoffset() is not None
        assert (await log.read(position.cursor)).at >= position.at

    async def test_a_cursor_before_what_was_trimmed_has_expired(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        first = await _commit(log, "runs.1 a")
        between = (await log.read(start)).cursor
        await _commit(log, "runs.1 b")
        await _done_with(log.trim(before=first + 1))
        assert _texts((await log.read(between)).records) == ["runs.1 b"]
        with pytest.raises(CursorExpired):
            await log.read(start)

    async def test_the_last_cursor_survives_when_everything_is_trimmed(self, log: AppendableLog) -> None:
        last = await _commit(log, "runs.1 a")
        cursor = (await log.position()).cursor
        await _done_with(log.trim(before=last + 1_000))
        assert (await log.position()).cursor == cursor
        await _commit(log, "runs.1 b")
        assert _texts((await log.read(cursor)).records) == ["runs.1 b"]

    async def test_trimming_spares_what_came_after_a_transaction_that_runs(self, log: AppendableLog) -> None:
        await _commit(log, "runs.1 a")
        cursor = (await log.position()).cursor
        running = await _begin(log, "runs.1 late")
        newest = await _commit(log, "runs.1 b")
        await _done_with(log.trim(before=newest + 1))
        batch = await log.read(cursor)
        await _done(running.commit())
        assert _texts(batch.records) == ["runs.1 b"]
        assert _texts((await log.read(batch.cursor)).records) == ["runs.1 late"]

    async def test_a_cursor_of_another_history_is_refused_with_its_reason(self, log: AppendableLog) -> None:
        await _commit(log, "runs.1 a")
        cursor = (await log.position()).cursor
        system, timeline, generation = (
            cursor.lineage.system,
            cursor.lineage.timeline,
            cursor.lineage.generation,
        )
        for lineage in (Lineage(system, timeline + 1, generation), Lineage(system, timeline, generation + 1)):
            with pytest.raises(CursorRewound):
                await log.read(replace(cursor, lineage=lineage))
        with pytest.raises(CursorRewound):
            await log.read(replace(cursor, snapshot=Snapshot(cursor.snapshot.xmax + 1_000_000)))
        with pytest.raises(CursorOfOtherDatabase):
            await log.read(replace(cursor, lineage=Lineage(system + 1, timeline, generation)))

    async def test_a_new_generation_begins_once_for_all_who_find_the_log_rewound(
        self, log: AppendableLog
    ) -> None:
        await _commit(log, "runs.1 a")
        last = (await log.position()).cursor
        first, second = await log.rewound(last), await log.rewound(last)
        assert first.cursor == second.cursor
        assert first.cursor.lineage == replace(last.lineage, generation=last.lineage.generation + 1)
        with pytest.raises(CursorRewound):
            await log.read(last)
        await _commit(log, "runs.1 b")
        assert _texts((await log.read(first.cursor)).records) == ["runs.1 b"]

    async def test_who_finds_out_late_does_not_bring_a_generation_back(self, log: AppendableLog) -> None:
        last = (await log.position()).cursor
        newer = await log.rewound((await log.rewound(last)).cursor)
        assert (await log.rewound(last)).cursor == newer.cursor

    @pytest.mark.parametrize("seed", range(5))
    async def test_whoever_reads_at_whatever_moments_reads_everything_once(
        self, log: AppendableLog, seed: int
    ) -> None:
        chance = random.Random(seed)  # noqa: S311
        start = (await log.position()).cursor
        cursors, read = [start] * 3, [list[Record]() for _ in range(3)]
        running: list[tuple[Transaction, list[str]]] = []
        committed: list[str] = []
        numbers = count()

        async def follow(reader: int) -> None:
            batch = await log.read(cursors[reader])
            cursors[reader] = batch.cursor
            read[reader] += batch.records

        for _ in range(150):
            action = chance.choice(["begin", "emit", "emit", "end", "read", "read"])
            if action == "begin" and len(running) < 5:
                running.append((await _begin(log), []))
            elif action == "emit" and running:
                transaction, texts = chance.choice(running)
                texts.append(str(next(numbers)))
                await _done(transaction.emit("runs.1", texts[-1]))
            elif action == "end" and running:
                transaction, texts = running.pop(chance.randrange(len(running)))
                keep = chance.random() < 0.8
                committed += texts if keep else []
                await _done(transaction.commit() if keep else transaction.rollback())
            elif action == "read":
                await follow(chance.randrange(3))
        for transaction, texts in running:
            committed += texts
            await _done(transaction.commit())
        for reader in range(3):
            await follow(reader)
            assert sorted(record.payload for record in read[reader]) == sorted(committed)


async def _begin(log: AppendableLog, *events: str) -> Transaction:
    transaction = log.begin()
    if isinstance(transaction, Awaitable):
        transaction = await transaction
    for event in events:
        channel, _, payload = event.partition(" ")
        await _done(transaction.emit(channel, payload if payload[0] in '{"9' else f'"{payload}"'))
    return transaction


async def _commit(log: AppendableLog, *events: str) -> int:
    transaction = await _begin(log, *events)
    await _done(transaction.commit())
    return transaction.xid


async def _done(outcome: Awaitable[None] | None) -> None:
    if outcome is not None:
        await outcome


async def _done_with(outcome: object) -> None:
    if isinstance(outcome, Awaitable):
        await outcome


def _texts(records: Iterable[Record]) -> list[str]:
    return [f"{record.channel} {record.payload}".replace('"', "") for record in records]
