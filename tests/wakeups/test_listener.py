"""The listener: a ring wakes the relay, and without rings it goes on all the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

import pytest

from flowcraft.adapters.postgres.listen_connection import ListenConnection
from flowcraft.adapters.postgres.listener import PostgresListener
from flowcraft.channels import Channels
from flowcraft.core.wakeup import (
    BUSY_READS,
    DrawMark,
    Idle,
    Leader,
    NotifyOthers,
    Releasing,
    Step,
    TryLock,
    Unlock,
    WakeupMachine,
)
from flowcraft.declarations import Notify
from flowcraft.errors import LogUnavailable
from flowcraft.events import Event
from flowcraft.records import Ephemeral
from tests.support.following import NEVER, Followed, following, listening
from tests.support.pooler import swallowing_notifications
from tests.support.postgres import AppendablePostgresLog, Ear, connected, migrated

if TYPE_CHECKING:
    from tests.support.postgres import Plain

RUN = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


class Noted(Event):
    n: int


class Progress(Event):
    run_id: UUID
    percent: int


channels = Channels()
channels.declare("note_update", Noted)
channels.declare("legacy_update", Noted, durable=False, source=Notify("Old Channel"))
channels.declare(
    "progress.{run_id}", Progress, params={"run_id": UUID}, durable=False, source=Notify("progress")
)


@pytest.fixture
async def log(database: str) -> AsyncIterator[AppendablePostgresLog]:
    async with migrated(database) as log:
        yield log


async def emit(connection: Plain, *numbers: int) -> list[str]:
    payloads = [f'{{"type":"Noted","n":{n}}}' for n in numbers]
    for payload in payloads:
        await connection.execute("select flowcraft.broadcast('note_update', $1::text::json)", payload)
    return payloads


async def test_an_idle_commit_costs_one_ring_and_one_read(log: AppendablePostgresLog) -> None:
    async with following(log, log.dsn) as followed, connected(log.dsn) as connection:
        await fall_asleep(followed)
        before = followed.reads
        commits = BUSY_READS - 1  # however quickly they follow, nobody takes that for a busy time
        for n in range(commits):
            await emit(connection, n)
            await followed.until_read(n + 1)
        assert followed.listener.notifications == commits
        assert followed.reads - before == commits
        assert not followed.listener.polling


async def fall_asleep(followed: Followed) -> None:
    """Have a relay read until it sleeps."""
    async with asyncio.timeout(10):
        while followed.listener.machine_state != Idle():
            before = followed.reads
            followed.listener.hurry()
            await followed.until(lambda: followed.reads > before)  # noqa: B023


async def test_a_transaction_that_began_before_the_relay_and_ends_after_it_rings(
    log: AppendablePostgresLog,
) -> None:
    old = await log.begin()
    await old.broadcast("note_update", '{"type":"Noted","n":1}')
    async with following(log, log.dsn) as followed, connected(log.dsn) as connection:
        newer = await emit(connection, 2)
        await followed.until_read(1)
        await old.commit()
        await followed.until_read(2)
        assert followed.payloads == [*newer, '{"type":"Noted","n":1}']


COMMITS = """
do $$ begin
    for n in 1..1000 loop
        perform flowcraft.broadcast('note_update', format('{"type":"Noted","n":%s}', n)::json);
        commit;
    end loop;
end $$
"""
THOUSAND = [f'{{"type":"Noted","n":{n}}}' for n in range(1, 1001)]


async def commit_until(connection: Plain, enough: Callable[[], bool]) -> list[str]:
    """Commit a thousand times, and again, until that was enough to make a reader busy."""
    payloads: list[str] = []
    async with asyncio.timeout(20):
        while not enough():
            await connection.execute(COMMITS)
            payloads += THOUSAND
    return payloads


async def test_a_busy_relay_is_not_rung_and_misses_nothing(log: AppendablePostgresLog) -> None:
    async with following(log, log.dsn) as followed, connected(log.dsn) as connection:
        payloads = await commit_until(connection, lambda: Leader in followed.states)
        await followed.until_read(len(payloads))
        assert followed.payloads == payloads
        assert followed.listener.notifications < len(payloads)
        await fall_asleep(followed)


async def test_of_two_relays_one_holds_the_lock_and_rings_the_other(log: AppendablePostgresLog) -> None:
    async with (
        following(log, log.dsn) as one,
        following(log, log.dsn) as other,
        connected(log.dsn) as connection,
    ):
        payloads = await commit_until(connection, lambda: Leader in one.states | other.states)
        await one.until_read(len(payloads))
        await other.until_read(len(payloads))
        assert one.payloads == other.payloads == payloads


async def test_a_lost_connection_is_made_again_and_nothing_is_lost(log: AppendablePostgresLog) -> None:
    async with following(log, log.dsn) as followed, connected(log.dsn) as connection:
        expected = await emit(connection, 1)
        await followed.until_read(1)
        for n in range(3):
            await terminate_listener(connection)
            expected += await emit(connection, n)
            await followed.until_read(len(expected))
            await asyncio.wait_for(followed.listener.until_connected(), 10)
        assert followed.payloads == expected


async def terminate_listener(connection: Plain) -> None:
    terminated = await connection.fetchval("""
        select count(pg_terminate_backend(pid)) from pg_stat_activity
        where datname = current_database() and application_name = 'flowcraft listener'
    """)
    assert terminated == 1


async def test_where_notifications_are_swallowed_the_relay_polls(
    log: AppendablePostgresLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        swallowing_notifications(log.dsn, tmp_path) as pooled,
        following(log, pooled, probe_seconds=0.1, polling_seconds=0.01) as followed,
        connected(log.dsn) as connection,
    ):
        expected = await emit(connection, 1, 2, 3)
        await followed.until_read(3)
        assert followed.payloads == expected
        assert followed.listener.polling
        assert "notifications do not come through" in caplog.text
        # A session that is not ours alone must not hold locks.
        assert await connection.fetchval("select count(*) from pg_locks where locktype = 'advisory'") == 0


async def test_without_a_connection_the_relay_reads_once_per_safety_interval(
    log: AppendablePostgresLog, tmp_path: Path
) -> None:
    listener = PostgresListener(
        f"postgresql://postgres@/x?host={tmp_path}", channels, lambda _: None, safety_seconds=0.02
    )
    followed = Followed(log, listener)
    async with listening(listener), connected(log.dsn) as connection:
        task = asyncio.create_task(followed.run())
        await followed.until(lambda: followed.reads > 1)
        expected = await emit(connection, 1)
        await followed.until_read(1)
        assert followed.payloads == expected
        assert not listener.connected
        assert "cannot be reached" in str(listener.last_error)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("turns", range(4))
async def test_taking_the_lock_is_cut_short_together_with_its_session(
    log: AppendablePostgresLog, turns: int
) -> None:
    async with connected(log.dsn) as connection:
        async with ListenConnection.open(log.dsn, [], lambda _: None, Ear()) as line:
            trying = asyncio.create_task(line.try_lock())
            for _ in range(turns):
                await asyncio.sleep(0)
            trying.cancel()
            await asyncio.gather(trying, return_exceptions=True)
            assert line.lost.is_set() or turns == 0
        async with asyncio.timeout(10):
            await connection.execute("select pg_advisory_lock_shared(1718382455, 1)")


async def test_hurry_reads_now(log: AppendablePostgresLog) -> None:
    async with following(log, log.dsn) as followed:
        before = followed.reads
        followed.listener.hurry()
        await followed.until(lambda: followed.reads > before)


async def test_ephemeral_events_and_foreign_notifications_are_checked_and_handed_on(
    database: str, log: AppendablePostgresLog, caplog: pytest.LogCaptureFixture
) -> None:
    got: asyncio.Queue[Ephemeral] = asyncio.Queue()
    caplog.set_level(logging.DEBUG, "flowcraft")
    async with (
        listening(listener := PostgresListener(database, channels, got.put_nowait)),
        connected(database) as connection,
    ):
        await asyncio.wait_for(listener.until_connected(), 10)
        progress = f'{{"type":"Progress","run_id":"{RUN}","percent":5}}'
        by_function = "select flowcraft.broadcast_ephemeral($1, $2::text::json)"
        await connection.execute(by_function, f"progress.{RUN}", progress)
        # Refused: a durable channel, and an unknown one.
        await connection.execute(by_function, "note_update", '{"type":"Noted","n":666}')
        await connection.execute(by_function, "nothing_update", '{"type":"Noted","n":666}')
        for topic, payload in (
            ("Old Channel", '{"type":"Noted","n":1}'),
            ("progress", progress.replace(str(RUN), str(RUN).upper()).replace(",", ", ")),
            # Refused: by a stranger, no JSON, not fitting, no parameter, another's.
            ("flowcraft_ephemeral", f'{{"channel":"progress.{RUN}","payload":{progress}}}'),
            ("flowcraft_ephemeral", "666"),
            ("Old Channel", '{"type":"Noted","n":"666"}'),
            ("progress", '{"type":"Progress","percent":666}'),
            ("progress", '{"type":"Progress","run_id":"../../etc","percent":666}'),
            ("flowcraft_wakeup", "forged"),
            ("Old Channel", '{"type":"Noted","n":2}'),
        ):
            await connection.execute("select pg_notify($1, $2)", topic, payload)
        async with asyncio.timeout(10):
            arrived = [await got.get() for _ in range(4)]
        assert arrived == [
            Ephemeral(f"progress.{RUN}", progress),
            Ephemeral("legacy_update", '{"type":"Noted","n":1}'),
            Ephemeral(f"progress.{RUN}", progress),
            Ephemeral("legacy_update", '{"type":"Noted","n":2}'),
        ]
        assert listener.rejected == 7
        assert "666" not in caplog.text


async def test_a_flood_of_bad_notifications_does_not_fill_the_log(
    database: str, log: AppendablePostgresLog, caplog: pytest.LogCaptureFixture
) -> None:
    got: asyncio.Queue[Ephemeral] = asyncio.Queue()
    async with (
        listening(listener := PostgresListener(database, channels, got.put_nowait)),
        connected(database) as connection,
    ):
        await asyncio.wait_for(listener.until_connected(), 10)
        await connection.execute(
            "select pg_notify('Old Channel', n::text) from generate_series(1, 1000) as n"
        )
        await connection.execute("""select pg_notify('Old Channel', '{"type":"Noted","n":2}')""")
        async with asyncio.timeout(10):
            await got.get()
        assert listener.rejected == 1_000
        assert caplog.text.count("rejected") == 10


async def lose(followed: Followed, connection: Plain) -> None:
    """End the listener's session, and wait until the listener knows."""
    await terminate_listener(connection)
    await asyncio.wait_for(followed.listener.until_disconnected(), 10)


async def come_to_rest(followed: Followed, connection: Plain) -> None:
    """Wait until a relay that nothing wakes reads no more."""
    before = -1
    while before != followed.reads:
        before = followed.reads
        for _ in range(20):
            await connection.fetchval("select 1")


class Gate:
    """Holds the listener back before it connects again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = asyncio.Event()
        self.opens = asyncio.Event()
        connect = ListenConnection.open

        @asynccontextmanager
        async def held(*arguments: Any) -> AsyncIterator[ListenConnection]:
            self.reached.set()
            await self.opens.wait()
            async with connect(*arguments) as line:
                yield line

        monkeypatch.setattr(ListenConnection, "open", held)


async def test_what_is_committed_between_a_lost_connection_and_listen_is_read_once_it_listens(
    log: AppendablePostgresLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with following(log, log.dsn) as followed, connected(log.dsn) as connection:
        gate = Gate(monkeypatch)
        await lose(followed, connection)
        await gate.reached.wait()
        await come_to_rest(followed, connection)
        expected = await emit(connection, 1)
        assert followed.payloads == []
        gate.opens.set()
        await followed.until_read(1)
        assert followed.payloads == expected


async def test_a_connection_that_is_lost_is_a_reason_to_read_once_and_then_at_the_safety_pace(
    log: AppendablePostgresLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with following(log, log.dsn) as followed, connected(log.dsn) as connection:
        await fall_asleep(followed)
        gate = Gate(monkeypatch)
        before = followed.reads
        await lose(followed, connection)
        await followed.until(lambda: followed.reads > before)
        assert (followed.listener.connected, followed.listener.state) == (False, "polling")
        assert followed.listener.trouble == "the listener's connection was lost"
        await gate.reached.wait()
        await come_to_rest(followed, connection)
        assert followed.reads <= before + 2


async def test_after_a_lost_connection_nothing_is_assumed_about_the_lock(
    log: AppendablePostgresLog,
) -> None:
    async with following(log, log.dsn) as followed, connected(log.dsn) as connection:
        await fall_asleep(followed)
        await lose(followed, connection)
        await asyncio.wait_for(followed.listener.until_connected(), 10)
        assert followed.listener.machine_state == Releasing(None)
        assert followed.listener.trouble is None


@pytest.mark.parametrize("step", [DrawMark(), TryLock(), Unlock(), NotifyOthers()], ids=repr)
async def test_a_connection_that_is_lost_in_the_middle_of_a_wait_ends_the_wait(
    log: AppendablePostgresLog, monkeypatch: pytest.MonkeyPatch, step: Step
) -> None:
    async def lost(self: ListenConnection, name: str, *arguments: object) -> NoReturn:
        raise LogUnavailable(f"the connection was lost at {name}")

    def due(*_: object, **__: object) -> Step:
        return step

    listener = PostgresListener(log.dsn, channels, lambda _: None, safety_seconds=NEVER)
    async with listening(listener):
        await asyncio.wait_for(listener.until_connected(), 10)
        monkeypatch.setattr(ListenConnection, "_ask", lost)
        monkeypatch.setattr(WakeupMachine, "observe", due)
        async with asyncio.timeout(10):
            await listener.wait()
