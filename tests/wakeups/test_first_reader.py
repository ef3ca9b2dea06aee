"""The first reader: writers notify one of several readers, and that one notifies the others."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from flowcraft.adapters.postgres.statements import statement
from flowcraft.core import first_reader
from flowcraft.core.first_reader import (
    MANY_READERS,
    RETRY_SECONDS,
    CountReaders,
    FirstReader,
    LeaveFirst,
    ListenToWriters,
    TryFirst,
)
from tests.support.following import Followed, following
from tests.support.postgres import AppendablePostgresLog, connected, migrated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.postgres import Plain

SAFETY_SECONDS, SLACK_SECONDS = 0.5, 5.0
"""How late an event may be, and for how long a busy machine may stand still beside."""
KILL_FIRST = """
select pg_terminate_backend(pid) from pg_locks
where locktype = 'advisory' and classid = 1718382455 and objid = 5 and granted
    and database = (select oid from pg_database where datname = current_database())
"""


def one_of_many() -> FirstReader:
    """Return one of just so many that one of them is the first."""
    reader = FirstReader()
    assert reader.next(0.0, is_far=False) == CountReaders()
    reader.counted(0.0, MANY_READERS)
    return reader


def other() -> FirstReader:
    """Return one that found the lock taken, and has been notified by another reader."""
    reader = one_of_many()
    assert reader.next(0.0, is_far=False) == TryFirst()
    reader.tried(0.0, taken=False)
    assert reader.next(0.1, is_far=False) is None  # it listens to the writers until a reader notifies it
    reader.notified(by_writer=False)
    reader.observe(1, timed_out=False)
    assert reader.next(0.1, is_far=False) == ListenToWriters(begins=False)
    reader.listening(begins=False)
    return reader


def test_the_first_notifies_the_others_once_for_each_read_that_a_writer_began() -> None:
    reader = FirstReader()
    reader.tried(0.0, taken=True)
    assert not reader.must_notify()
    reader.notified(by_writer=True)
    assert [reader.must_notify(), reader.must_notify()] == [True, False]
    reader.notified(by_writer=False)
    assert not reader.must_notify()


def test_another_reader_notifies_no_one_and_tries_the_lock_now_and_then() -> None:
    reader = other()
    reader.notified(by_writer=True)
    assert not reader.must_notify()
    assert reader.next(RETRY_SECONDS - 0.1, is_far=False) is None
    assert reader.next(RETRY_SECONDS, is_far=False) == CountReaders()
    reader.counted(RETRY_SECONDS, MANY_READERS)
    assert reader.next(RETRY_SECONDS, is_far=False) == TryFirst()


def test_a_reader_that_becomes_the_first_listens_to_the_writers_and_notifies_of_what_it_missed() -> None:
    reader = other()
    reader.tried(0.5, taken=True)
    assert reader.next(0.5, is_far=False) == ListenToWriters(begins=True)
    reader.listening(begins=True)
    assert reader.must_notify()


def test_a_reader_that_finds_records_late_listens_to_the_writers_until_it_is_notified_again() -> None:
    reader = other()
    reader.observe(0, timed_out=True)
    assert reader.next(0.5, is_far=False) is None
    reader.observe(1, timed_out=True)
    assert reader.next(0.6, is_far=False) == ListenToWriters(begins=True)
    reader.listening(begins=True)
    assert not reader.must_notify()
    reader.notified(by_writer=False)
    assert reader.next(0.7, is_far=False) == ListenToWriters(begins=False)


def test_a_notification_without_records_has_the_lock_tried_at_once() -> None:
    reader = other()
    reader.notified(by_writer=False)
    reader.observe(0, timed_out=False)
    assert reader.next(0.2, is_far=False) == CountReaders()
    reader.counted(0.2, MANY_READERS)
    assert reader.next(0.2, is_far=False) == TryFirst()


def test_where_readers_become_few_the_first_leaves_and_all_listen_to_the_writers() -> None:
    first, reader = one_of_many(), other()
    first.tried(0.0, taken=True)
    assert first.next(0.5, is_far=False) is None
    first.counted(1.0, MANY_READERS - 1)
    assert first.next(1.0, is_far=False) == LeaveFirst()
    first.left()
    assert (first.next(1.0, is_far=False), first.listens_to_writers) == (None, True)
    reader.notified(by_writer=False)  # by the one that leaves
    reader.observe(0, timed_out=False)
    assert reader.next(0.5, is_far=False) == CountReaders()
    reader.counted(0.5, MANY_READERS - 1)
    assert reader.next(0.5, is_far=False) == ListenToWriters(begins=True)
    reader.listening(begins=True)
    reader.notified(by_writer=False)  # by a leader
    assert reader.next(0.6, is_far=False) is None


def test_a_far_reader_is_not_the_first_and_listens_to_the_writers() -> None:
    reader = one_of_many()
    assert reader.next(0.0, is_far=True) is None
    reader.notified(by_writer=False)
    assert reader.next(0.0, is_far=True) is None
    reader.tried(0.0, taken=True)
    assert reader.next(0.0, is_far=True) == LeaveFirst()
    reader.left()
    assert (reader.is_first, reader.next(0.0, is_far=True)) == (False, None)


@pytest.fixture
async def log(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AppendablePostgresLog]:
    monkeypatch.setattr(first_reader, "MANY_READERS", 1)
    async with migrated(database) as log:
        yield log


async def emit(connection: Plain, *followed: Followed) -> None:
    """Commit an event, and wait until all have it; so rarely that no reader becomes the leader."""
    await connection.execute("select pg_sleep(0.02)")
    wanted = [len(one.payloads) + 1 for one in followed]
    await connection.execute("select flowcraft.broadcast('note_update', '1')")
    for one, count in zip(followed, wanted, strict=True):
        await one.until_read(count)


async def emit_until_one_is_first(connection: Plain, *followed: Followed) -> Followed:
    """Commit events until one reader listens to the writers, and the others do not."""
    async with asyncio.timeout(20):
        while [one.listener.listens_to_writers for one in followed].count(True) != 1:
            await emit(connection, *followed)
    (first,) = [one for one in followed if one.listener.listens_to_writers]
    assert first.listener.is_first
    return first


async def test_of_three_readers_one_listens_to_the_writers_and_all_read_at_once(
    log: AppendablePostgresLog,
) -> None:
    async with (
        following(log, log.dsn) as one,
        following(log, log.dsn) as two,
        following(log, log.dsn) as three,
        connected(log.dsn) as connection,
    ):
        await emit_until_one_is_first(connection, one, two, three)
        for _ in range(5):  # none of them polls within the time of a test
            await emit(connection, one, two, three)


async def test_when_the_first_leaves_another_takes_its_place_at_once(log: AppendablePostgresLog) -> None:
    async with AsyncExitStack() as leaving, connected(log.dsn) as connection:
        one = await leaving.enter_async_context(following(log, log.dsn))
        await emit(connection, one)
        async with following(log, log.dsn) as two:
            assert await emit_until_one_is_first(connection, one, two) is one
            await leaving.aclose()
            async with asyncio.timeout(10):
                while not (two.listener.is_first and two.listener.listens_to_writers):
                    await connection.execute("select 1")
            await emit(connection, two)


async def test_when_the_first_is_killed_no_event_is_later_than_the_safety_poll(
    log: AppendablePostgresLog,
) -> None:
    async with (
        following(log, log.dsn, SAFETY_SECONDS) as one,
        following(log, log.dsn, SAFETY_SECONDS) as two,
        connected(log.dsn) as connection,
    ):
        first = await emit_until_one_is_first(connection, one, two)
        assert await connection.fetchval(KILL_FIRST)
        await asyncio.wait_for(first.listener.until_disconnected(), 10)
        for _ in range(5):
            async with asyncio.timeout(SAFETY_SECONDS + SLACK_SECONDS):
                await emit(connection, one, two)
        await emit_until_one_is_first(connection, one, two)


async def test_where_no_reader_can_be_the_first_all_listen_to_the_writers(log: AppendablePostgresLog) -> None:
    async with connected(log.dsn) as stranger:
        assert await stranger.fetchval(statement("try_first"))
        async with (
            following(log, log.dsn) as one,
            following(log, log.dsn) as two,
            connected(log.dsn) as connection,
        ):
            for _ in range(5):
                await emit(connection, one, two)
            assert [one.listener.is_first, two.listener.is_first] == [False, False]
            assert one.listener.listens_to_writers
            assert two.listener.listens_to_writers


async def test_two_readers_both_listen_to_the_writers(
    log: AppendablePostgresLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_reader, "MANY_READERS", MANY_READERS)
    async with (
        following(log, log.dsn) as one,
        following(log, log.dsn) as two,
        connected(log.dsn) as connection,
    ):
        for _ in range(5):
            await emit(connection, one, two)
        assert [one.listener.is_first, two.listener.is_first] == [False, False]
        assert one.listener.listens_to_writers
        assert two.listener.listens_to_writers
