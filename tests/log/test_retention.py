"""Retention: the log slides on while it is written and read; nobody fails, and no gap is silent."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest

from flowcraft.cursors import Cursor
from flowcraft.errors import CursorExpired
from tests.support.postgres import AppendablePostgresLog, connected, migrated

if TYPE_CHECKING:
    from flowcraft.records import Batch
    from tests.support.postgres import Plain

KEEP = timedelta(seconds=100)
TICK = KEEP / 20
READ = "select * from flowcraft.difference($1::text::xid8, $2::text[]::xid8[], null, null)"


class Rotation:
    """Turns the clock of the log's retention, which begins when the log was made."""

    def __init__(self, connection: Plain, at: datetime) -> None:
        self.connection = connection
        self.at = at
        self.done: list[str] = []

    async def tick(self, later: timedelta = TICK) -> str | None:
        self.at += later
        done: str | None = await self.connection.fetchval("select flowcraft.rotate($1, $2)", KEEP, self.at)
        self.done += done.split("; ") if done else []
        return done

    async def go(self, time: timedelta) -> list[str]:
        """Tick until so much time has passed; return what was done."""
        before = len(self.done)
        for _ in range(time // TICK):
            await self.tick()
        return self.done[before:]

    async def kept(self) -> list[str]:
        rows = await self.connection.fetch("select payload from flowcraft.event order by id")
        return [row["payload"] for row in rows]

    async def sizes(self) -> list[int]:
        rows = await self.connection.fetch(
            "select pg_relation_size(format('flowcraft.event_%s', s)::regclass) from generate_series(0, 3) s"
        )
        return [row[0] for row in rows]

    async def broadcast(self, payload: str) -> None:
        await self.connection.execute("select flowcraft.broadcast('runs.1', $1::text::json)", payload)


@pytest.fixture
async def log(database: str) -> AsyncIterator[AppendablePostgresLog]:
    async with migrated(database) as log:
        yield log


@pytest.fixture
async def rotation(database: str, log: AppendablePostgresLog) -> AsyncIterator[Rotation]:
    async with connected(database) as connection:
        began = await connection.fetchval("select opened_at from flowcraft.slot where slot = 0")
        yield Rotation(connection, began)


def payloads(batch: Batch) -> list[str]:
    return [record.payload for record in batch.records]


async def test_events_are_kept_for_the_window_and_then_removed_without_a_trace(rotation: Rotation) -> None:
    await rotation.broadcast("1")
    assert await rotation.go(KEEP / 2) == ["opened event_1"]
    await rotation.broadcast("2")
    assert await rotation.go(KEEP) == [
        "event_0 has settled",
        "opened event_2",
        "event_1 has settled",
        "opened event_3",
    ]
    assert await rotation.kept() == ["1", "2"]
    assert await rotation.go(2 * TICK) == ["emptied event_0"]
    assert await rotation.kept() == ["2"]
    assert (await rotation.sizes())[0] == 0, "no dead rows"
    await rotation.go(KEEP)
    assert await rotation.sizes() == [0, 0, 0, 0]


async def test_an_idle_log_goes_round_without_work(rotation: Rotation) -> None:
    assert set(await rotation.go(10 * KEEP)) == {f"opened event_{slot}" for slot in range(4)}


async def test_every_cursor_lives_for_the_window_and_an_older_one_expires_by_name(
    rotation: Rotation, log: AppendablePostgresLog
) -> None:
    cursors: list[tuple[datetime, Cursor, int]] = []
    expired = 0
    for n in range(80):
        cursors.append((rotation.at, (await log.position()).cursor, n))
        await rotation.broadcast(str(n))
        await rotation.tick()
        for at, cursor, first in cursors:
            try:
                assert payloads(await log.tail(cursor)) == [str(m) for m in range(first, n + 1)]
            except CursorExpired:
                expired += 1
                assert rotation.at - at > KEEP
    assert expired


async def test_a_transaction_that_runs_holds_up_the_removal_and_nothing_else(
    rotation: Rotation, log: AppendablePostgresLog
) -> None:
    start = (await log.position()).cursor
    late = await log.begin()
    await late.broadcast("runs.1", '"late"')
    await rotation.broadcast('"early"')
    done = await rotation.go(5 * KEEP)
    assert done[:4] == [
        "opened event_1",
        "opened event_2",
        "opened event_3",
        "event_0 is not empty yet, events are kept for longer",
    ]
    await rotation.broadcast('"beside"')
    await late.commit()
    assert payloads(await log.tail(start)) == ['"late"', '"early"', '"beside"']
    assert await rotation.tick(), "it settles only now, though it was closed long ago"
    await rotation.go(KEEP - TICK)
    assert payloads(await log.tail(start)) == ['"late"', '"early"', '"beside"']
    assert "emptied event_0" in await rotation.go(2 * TICK)
    with pytest.raises(CursorExpired):
        await log.tail(start)


async def test_a_transaction_without_events_holds_up_what_live_cursors_need(
    rotation: Rotation, log: AppendablePostgresLog
) -> None:
    running = await log.begin()
    await rotation.broadcast("1")
    cursor = (await log.position()).cursor
    assert cursor.snapshot.xip == {running.xid}
    assert "emptied event_0" not in await rotation.go(5 * KEEP)
    await running.broadcast("runs.1", "2")
    await running.commit()
    assert payloads(await log.tail(cursor)) == ["2"]


async def test_who_chose_a_slot_before_it_was_closed_and_wrote_late_is_given_the_window(
    rotation: Rotation, log: AppendablePostgresLog
) -> None:
    await rotation.broadcast("1")
    await rotation.go(KEEP)
    start = (await log.position()).cursor
    await rotation.connection.execute(
        "insert into flowcraft.event (slot, channel, payload) values (0, 'runs.1', '2')"
    )
    assert "emptied event_0" not in await rotation.go(KEEP)
    assert payloads(await log.tail(start)) == ["2"]
    assert "emptied event_0" in await rotation.go(KEEP)


async def test_a_removal_that_is_in_the_way_of_a_reader_gives_way(
    rotation: Rotation, database: str, log: AppendablePostgresLog
) -> None:
    await rotation.broadcast("1")
    async with connected(database) as reader, reader.transaction():
        await reader.fetch("select flowcraft.cursor()")
        await rotation.go(2 * KEEP)
        assert rotation.done[-1] == "event_0 is in use, not emptied yet"
        assert await rotation.kept() == ["1"]
    await rotation.tick()
    assert await rotation.kept() == []


async def test_a_removal_that_takes_long_is_in_no_writers_way(rotation: Rotation, database: str) -> None:
    await rotation.go(KEEP / 2)
    async with connected(database) as writer, rotation.connection.transaction():
        await rotation.connection.execute("truncate only flowcraft.event_0")
        await writer.execute("set lock_timeout = '1ms'; select flowcraft.broadcast('runs.1', '1')")


async def test_a_reader_whose_snapshot_is_older_than_a_removal_is_told(
    rotation: Rotation, database: str, log: AppendablePostgresLog
) -> None:
    start = (await log.position()).cursor
    seen = [str(start.snapshot.xmax), [*map(str, start.snapshot.xip)]]
    async with connected(database) as reader, reader.transaction(isolation="repeatable_read"):
        await rotation.broadcast("1")
        assert len(await reader.fetch("select pg_current_snapshot()")) == 1, "from here on it does not change"
        assert len(await rotation.connection.fetch(READ, *seen)) == 1
        await rotation.go(2 * KEEP)
        assert await rotation.kept() == []
        assert await reader.fetchval("select floor > $1::text::xid8 from flowcraft.position()", seen[0])
        with pytest.raises(asyncpg.PostgresError, match="the log no longer reaches back to") as caught:
            await reader.fetch(READ, *seen)
    assert caught.value.sqlstate == "RT002"


async def test_a_removal_between_the_position_and_the_events_expires_the_cursor(
    rotation: Rotation, log: AppendablePostgresLog
) -> None:
    start = (await log.position()).cursor
    await rotation.broadcast("1")
    # A position of before the removal, with the events of after it.
    await rotation.connection.execute("create table before as select * from flowcraft.position()")
    await rotation.go(2 * KEEP)
    await rotation.connection.execute("""
        drop function flowcraft.position();
        create function flowcraft.position() returns before language sql as 'select * from public.before'
    """)
    with pytest.raises(CursorExpired):
        await log.tail(start)


async def test_a_cursor_from_a_snapshot_older_than_a_removal_does_not_claim_what_was_removed(
    rotation: Rotation, database: str, log: AppendablePostgresLog
) -> None:
    async with connected(database) as reader, reader.transaction(isolation="repeatable_read"):
        await reader.fetch("select pg_current_snapshot()")
        await rotation.broadcast("1")
        await rotation.go(2 * KEEP)
        cursor = Cursor.parse(await reader.fetchval("select flowcraft.cursor()"))
    with pytest.raises(CursorExpired):
        await log.tail(cursor)


async def test_a_follower_loses_nothing_while_many_write_and_the_log_goes_round(
    rotation: Rotation, database: str, log: AppendablePostgresLog
) -> None:
    batch = await log.position()
    came: list[str] = []
    writers = [asyncio.create_task(write(database, number)) for number in range(8)]
    while True:
        last = all(writer.done() for writer in writers)
        batch = await log.tail(batch.cursor)
        came += payloads(batch)
        # The cursor is never older than a quarter of the window.
        await rotation.tick(KEEP / 4)
        if last:
            break
    sent = [text for writer in writers for text in writer.result()]
    assert sorted(came) == sorted(sent)
    emptied = [done for done in rotation.done if "emptied" in done]
    assert len(emptied) > 4, "it went round while they wrote"


async def write(dsn: str, number: int) -> list[str]:
    """Emit events, some in transactions that take longer or are rolled back; return what was committed."""
    chance = random.Random(number)
    committed: list[str] = []
    async with connected(dsn) as connection:
        await connection.execute("set lock_timeout = '1s'")
        for n in range(150):
            texts = [f'"{number}.{n}.{m}"' for m in range(chance.choice([1, 1, 3]))]
            await connection.execute("begin")
            for text in texts:
                await connection.execute("select flowcraft.broadcast('runs.1', $1::text::json)", text)
                if chance.random() < 0.05:
                    await connection.execute("select pg_sleep(0.02)")
            kept = chance.random() < 0.9
            await connection.execute("commit" if kept else "rollback")
            committed += texts if kept else []
    return committed


async def test_a_clock_that_jumps_forward_rotates_once_and_one_that_goes_back_counts_anew(
    rotation: Rotation, log: AppendablePostgresLog
) -> None:
    await rotation.broadcast("1")
    live = (await log.position()).cursor
    assert await rotation.tick(timedelta(days=400)) == "opened event_1"
    assert await rotation.tick() == "event_0 has settled"
    assert await rotation.tick(-timedelta(days=800)) is None
    await rotation.broadcast("2")
    done = await rotation.go(KEEP - TICK)
    assert done == ["opened event_2", "event_1 has settled"]
    assert await rotation.tick() == "opened event_3; emptied event_0"
    assert payloads(await log.tail(live)) == ["2"]


async def test_one_at_a_time_rotates(rotation: Rotation, database: str) -> None:
    async with connected(database) as other, other.transaction():
        assert await other.fetchval("select flowcraft.rotate($1, $2)", KEEP, rotation.at + KEEP)
        assert await rotation.tick(KEEP) is None
    assert await rotation.tick(KEEP) == "opened event_2"


async def test_a_rotation_that_was_cut_off_half_way_is_taken_up(
    rotation: Rotation, log: AppendablePostgresLog
) -> None:
    await rotation.broadcast("1")
    # The slot has moved on, and what was noted of it was rolled back.
    await rotation.connection.execute("select setval('flowcraft.event_slot', 1)")
    await rotation.broadcast("2")
    assert await rotation.tick() == "event_0 has settled"
    assert await rotation.go(KEEP) == [
        "opened event_2",
        "event_1 has settled",
        "opened event_3",
        "emptied event_0",
    ]
    assert await rotation.kept() == ["2"]


async def test_the_log_is_not_rotated_where_a_commit_could_be_overlooked(rotation: Rotation) -> None:
    async with rotation.connection.transaction(isolation="repeatable_read"):
        with pytest.raises(asyncpg.PostgresError, match="in a transaction of its own, at read committed"):
            await rotation.tick()
    with pytest.raises(asyncpg.PostgresError, match="for a positive time, not for 00:00:00"):
        await rotation.connection.fetchval("select flowcraft.rotate('0')")


async def test_an_event_without_a_slot_has_a_table(rotation: Rotation, log: AppendablePostgresLog) -> None:
    start = (await log.position()).cursor
    await rotation.connection.execute(
        "insert into flowcraft.event (slot, channel, payload) values (99, 'runs.1', '1')"
    )
    assert payloads(await log.tail(start)) == ["1"]


async def test_reading_looks_things_up_by_index_in_every_slot(
    rotation: Rotation, log: AppendablePostgresLog
) -> None:
    if rotation.connection.get_server_version().major < 15:
        pytest.skip("its statistics come late")
    start = (await log.position()).cursor
    for _ in range(3):
        await rotation.broadcast("1")
        await rotation.go(KEEP / 2)
    await log.trim(before=start.snapshot.xmax)
    await rotation.connection.execute("select pg_stat_force_next_flush()")
    scans = "select sum(seq_scan) from pg_stat_user_tables where relname like 'event%'"
    before = await rotation.connection.fetchval(scans)
    seen = [str(start.snapshot.xmax), [*map(str, start.snapshot.xip)]]
    await rotation.connection.execute("analyze flowcraft.event")  # so that it knows how small they are
    await rotation.connection.fetch("select flowcraft.position(), flowcraft.cursor()")
    assert len(await rotation.connection.fetch(READ, *seen)) == 3
    assert len(await rotation.connection.fetch(READ.replace("null", "array['runs.1']", 1), *seen)) == 3
    await rotation.connection.execute("select pg_stat_force_next_flush()")
    assert await rotation.connection.fetchval(scans) == before
