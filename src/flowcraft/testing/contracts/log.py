"""EventLogContract: the guarantees of a log."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import count

import pytest

from flowcraft.cursors import Cursor, Snapshot
from flowcraft.errors import CursorExpired, CursorOfOtherDatabase, CursorRewound, CursorUnusable
from flowcraft.records import Limit, Record
from flowcraft.testing.contracts.transactions import (
    AppendableLog,
    Transaction,
    begin,
    commit,
    done,
    done_with,
    texts,
)


class SingleWriterLogContract:
    """The guarantees of `ports.EventLog` for a log whose transactions never overlap."""

    @pytest.fixture
    def log(self) -> AppendableLog:
        raise NotImplementedError("override this fixture: return the log, empty")

    async def test_nothing_follows_the_position_of_an_idle_log(self, log: AppendableLog) -> None:
        position = await log.position()
        batch = await log.tail(position.cursor)
        assert (position.records, batch.records, batch.cursor) == ((), (), position.cursor)

    async def test_a_committed_transaction_is_read_once_whole_and_in_order(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        await commit(log, "runs.1 a", "run_update b", "runs.1 c")
        batch = await log.tail(start)
        assert texts(batch.records) == ["runs.1 a", "run_update b", "runs.1 c"]
        assert (await log.tail(batch.cursor)).records == ()

    async def test_what_is_not_committed_is_not_read(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        transaction = await begin(log, "runs.1 a")
        assert (await log.tail(start)).records == ()
        await done(transaction.rollback())
        assert (await log.tail(start)).records == ()

    async def test_a_payload_is_returned_as_it_was_stored(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        payloads = ['{ "b":1,\n"a":1.0 }', '"\\u2028 \u2028 🚀"', "9007199254740993", f'"{"x" * 200_000}"']
        await commit(log, *(f"runs.1 {payload}" for payload in payloads))
        assert [record.payload for record in (await log.tail(start)).records] == payloads

    async def test_a_replay_of_some_channels_ends_at_the_cursor_of_a_tail(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        await commit(log, "runs.1 a", "runs.2 b")
        await commit(log, "runs.3 c")
        everything = await log.tail(start)
        some = await log.replay(start, ["runs.1", "runs.2", "runs.9"])
        none = await log.replay(start, [])
        assert texts(some.records) == ["runs.1 a", "runs.2 b"]
        assert none.records == ()
        assert some.cursor == none.cursor == everything.cursor

    async def test_more_than_the_limit_is_too_much_to_replay(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        await commit(log, "runs.1 a", "runs.2 b", "runs.1 c")
        assert len((await log.tail(start, limit=Limit(3))).records) == 3
        assert len((await log.replay(start, ["runs.1"], limit=Limit(2))).records) == 2
        with pytest.raises(CursorExpired):
            await log.tail(start, limit=Limit(2))
        with pytest.raises(CursorExpired):
            await log.replay(start, ["runs.1"], limit=Limit(1))

    async def test_a_tail_is_bounded_by_bytes_too(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        await commit(log, "runs.1 a", "runs.1 b")
        batch = await log.tail(start)
        size = sum(len(record.payload.encode()) for record in batch.records)
        assert (await log.tail(start, limit=Limit(2, size))).records == batch.records
        with pytest.raises(CursorExpired):
            await log.tail(start, limit=Limit(2, size - 1))

    async def test_more_than_the_limit_of_bytes_is_too_much_to_replay(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        await commit(log, "runs.1 ä", "runs.2 ö", "runs.1 üü", "runs.1 ß")
        whole = (await log.replay(start, ["runs.1"])).records
        size = sum(len(record.payload.encode()) for record in whole)
        assert (await log.replay(start, ["runs.1"], limit=Limit(100, size))).records == whole
        for too_little in (1, size // 2, size - 1):
            with pytest.raises(CursorExpired):
                await log.replay(start, ["runs.1"], limit=Limit(100, too_little))

    async def test_a_cursor_claims_no_transaction_beyond_the_newest_event(self, log: AppendableLog) -> None:
        written = await commit(log, "runs.1 a")
        silent = await commit(log)
        batch = await log.position()
        assert batch.cursor.snapshot == Snapshot(written + 1)
        assert batch.snapshot.covers(silent)
        assert not batch.cursor.covers(silent)

    async def test_the_time_of_a_read_names_its_zone(self, log: AppendableLog) -> None:
        position = await log.position()
        assert position.at.utcoffset() is not None
        assert (await log.tail(position.cursor)).at >= position.at

    async def test_a_cursor_before_what_was_trimmed_has_expired(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        first = await commit(log, "runs.1 a")
        between = (await log.tail(start)).cursor
        await commit(log, "runs.1 b")
        await done_with(log.trim(before=first + 1))
        assert texts((await log.tail(between)).records) == ["runs.1 b"]
        await _refused(log, start, CursorExpired)

    async def test_the_last_cursor_survives_when_everything_is_trimmed(self, log: AppendableLog) -> None:
        last = await commit(log, "runs.1 a")
        cursor = (await log.position()).cursor
        await done_with(log.trim(before=last + 1_000))
        assert (await log.position()).cursor == cursor
        await commit(log, "runs.1 b")
        assert texts((await log.tail(cursor)).records) == ["runs.1 b"]

    async def test_a_cursor_of_another_history_is_refused_with_its_reason(self, log: AppendableLog) -> None:
        await commit(log, "runs.1 a")
        cursor = (await log.position()).cursor
        here = cursor.lineage
        for lineage in (
            replace(here, timeline=here.timeline + 1),
            replace(here, generation=here.generation + 1),
        ):
            await _refused(log, replace(cursor, lineage=lineage), CursorRewound)
        ahead = replace(cursor, snapshot=Snapshot(cursor.snapshot.xmax + 1_000_000))
        await _refused(log, ahead, CursorRewound)
        other = replace(cursor, lineage=replace(here, system=here.system + 1))
        await _refused(log, other, CursorOfOtherDatabase)

    async def test_a_new_generation_begins_once_for_all_who_find_the_log_rewound(
        self, log: AppendableLog
    ) -> None:
        await commit(log, "runs.1 a")
        last = (await log.position()).cursor
        first, second = await log.rewound(last), await log.rewound(last)
        assert first.cursor == second.cursor
        assert first.cursor.lineage == replace(last.lineage, generation=last.lineage.generation + 1)
        with pytest.raises(CursorRewound):
            await log.tail(last)
        await commit(log, "runs.1 b")
        assert texts((await log.tail(first.cursor)).records) == ["runs.1 b"]

    async def test_a_late_finder_does_not_bring_a_generation_back(self, log: AppendableLog) -> None:
        last = (await log.position()).cursor
        newer = await log.rewound((await log.rewound(last)).cursor)
        assert (await log.rewound(last)).cursor == newer.cursor


class EventLogContract(SingleWriterLogContract):
    """The guarantees of `ports.EventLog`, with transactions that overlap."""

    async def test_a_transaction_that_commits_late_is_read_then(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        late = await begin(log, "runs.1 late")
        await commit(log, "runs.1 early")
        first = await log.tail(start)
        await done(late.commit())
        second = await log.tail(first.cursor)
        assert (texts(first.records), texts(second.records)) == (["runs.1 early"], ["runs.1 late"])
        assert first.cursor.snapshot.xip == {late.xid}
        assert second.cursor.snapshot.xip == frozenset()

    async def test_a_transaction_that_commits_late_is_replayed_then(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        late = await begin(log, "runs.1 late")
        await commit(log, "runs.2 early")
        first = await log.replay(start, ["runs.1"])
        await done(late.commit())
        assert (first.records, first.cursor.covers(late.xid)) == ((), False)
        assert texts((await log.replay(first.cursor, ["runs.1"])).records) == ["runs.1 late"]
        assert (await log.replay(first.cursor, ["runs.2"])).records == ()

    async def test_a_position_taken_while_a_transaction_runs_does_not_cover_it(
        self, log: AppendableLog
    ) -> None:
        late = await begin(log, "runs.1 late")
        await commit(log, "runs.1 early")
        position = await log.position()
        await done(late.commit())
        assert not position.cursor.covers(late.xid)
        assert texts((await log.tail(position.cursor)).records) == ["runs.1 late"]

    async def test_what_became_visible_together_is_ordered_by_id(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        older, newer = await begin(log), await begin(log)
        for transaction, text in ((newer, "1"), (older, "2"), (newer, "3")):
            await done(transaction.broadcast("runs.1", text))
        await done(newer.commit())
        await done(older.commit())
        records = (await log.tail(start)).records
        assert texts(records) == ["runs.1 1", "runs.1 2", "runs.1 3"]
        assert [record.xid for record in records] == [newer.xid, older.xid, newer.xid]
        assert sorted(record.id for record in records) == [record.id for record in records]

    async def test_a_cursor_survives_the_way_to_a_client_and_back(self, log: AppendableLog) -> None:
        start = (await log.position()).cursor
        running = [await begin(log, f"runs.1 {n}") for n in range(3)]
        await commit(log, "runs.1 last")
        cursor = (await log.tail(start)).cursor
        for transaction in running:
            await done(transaction.commit())
        returned = Cursor.parse(str(cursor))
        assert returned == cursor
        assert texts((await log.tail(returned)).records) == ["runs.1 0", "runs.1 1", "runs.1 2"]

    async def test_a_batch_names_the_transactions_that_have_ended(self, log: AppendableLog) -> None:
        running = await begin(log)
        silent = await commit(log)
        start = await log.position()
        assert (start.snapshot.covers(silent), start.snapshot.covers(running.xid)) == (True, False)
        await done(running.rollback())
        assert (await log.tail(start.cursor)).snapshot.covers(running.xid)

    async def test_trimming_spares_what_came_after_a_transaction_that_runs(self, log: AppendableLog) -> None:
        await commit(log, "runs.1 a")
        cursor = (await log.position()).cursor
        running = await begin(log, "runs.1 late")
        newest = await commit(log, "runs.1 b")
        await done_with(log.trim(before=newest + 1))
        batch = await log.tail(cursor)
        await done(running.commit())
        assert texts(batch.records) == ["runs.1 b"]
        assert texts((await log.tail(batch.cursor)).records) == ["runs.1 late"]

    @pytest.mark.parametrize("seed", range(5))
    async def test_three_readers_read_everything_once_whenever_they_read(
        self, log: AppendableLog, seed: int
    ) -> None:
        chance = random.Random(seed)  # noqa: S311
        start = (await log.position()).cursor
        cursors, read = [start] * 3, [list[Record]() for _ in range(3)]
        running: list[tuple[Transaction, list[str]]] = []
        committed: list[str] = []
        numbers = count()

        async def read_on(reader: int) -> None:
            batch = await log.tail(cursors[reader])
            cursors[reader] = batch.cursor
            read[reader] += batch.records

        for _ in range(150):
            action = chance.choice(["begin", "broadcast", "broadcast", "end", "read", "read"])
            if action == "begin" and len(running) < 5:
                running.append((await begin(log), []))
            elif action == "broadcast" and running:
                transaction, written = chance.choice(running)
                written.append(str(next(numbers)))
                await done(transaction.broadcast("runs.1", written[-1]))
            elif action == "end" and running:
                transaction, written = running.pop(chance.randrange(len(running)))
                keep = chance.random() < 0.8
                committed += written if keep else []
                await done(transaction.commit() if keep else transaction.rollback())
            elif action == "read":
                await read_on(chance.randrange(3))
        for transaction, written in running:
            committed += written
            await done(transaction.commit())
        for reader in range(3):
            await read_on(reader)
            assert sorted(record.payload for record in read[reader]) == sorted(committed)


async def _refused(log: AppendableLog, cursor: Cursor, error: type[CursorUnusable]) -> None:
    with pytest.raises(error):
        await log.tail(cursor)
    with pytest.raises(error):
        await log.replay(cursor, ["runs.1"])
