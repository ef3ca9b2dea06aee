"""Sessions of a role that may only connect: they forge no event, and hold no lock unnoticed."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from flowcraft import Channels, Event, Realtime
from flowcraft.adapters.postgres.ephemeral import EphemeralNotifications, EphemeralNumbers
from flowcraft.adapters.postgres.event_lookup import examine
from flowcraft.adapters.postgres.listener import PostgresListener
from flowcraft.adapters.postgres.retention import PostgresRetention
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.entrypoints.diagnosis import diagnose_database
from flowcraft.records import Ephemeral
from tests.support.following import listening
from tests.support.kept_frames import Client, Everyone
from tests.support.postgres import Ear, connected

CLASS = 0x666C6F77


class Typing(Event):
    """Somebody types."""

    n: int


channels = Channels()
typing = channels.declare("typing_update", Typing, durable=False)
noted = channels.declare("note_update", Typing)


def n_of(event: Ephemeral) -> int:
    return int(json.loads(event.payload)["n"])


@asynccontextmanager
async def stranger(database: str) -> AsyncIterator[Any]:
    """Lend a connection of a role that has no right but to connect."""
    name = f"stranger_{database.rpartition('/')[2].partition('?')[0]}"
    async with connected(database) as owner:
        await owner.execute(f'create role "{name}" login')
        connection = await asyncpg.connect(database, user=name)
        try:
            yield connection
        finally:
            connection.terminate()
            while await owner.fetchval("select count(*) from pg_stat_activity where usename = $1", name):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await owner.execute(f'drop owned by "{name}"; drop role "{name}"')


async def test_only_the_function_makes_ephemeral_events_and_none_twice(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    await migrate(database, channels)
    got: asyncio.Queue[Ephemeral] = asyncio.Queue()
    ear = Ear()
    async with (
        connected(database) as service,
        stranger(database) as mallory,
        listening(listener := PostgresListener(database, channels, got.put_nowait)),
    ):
        await asyncio.wait_for(listener.until_connected(), 10)
        await mallory.add_listener("flowcraft_ephemeral", ear)
        await service.execute("""select flowcraft.broadcast_ephemeral('typing_update', '{"n":1}')""")
        await service.execute("""select flowcraft.broadcast_ephemeral('typing_update', '{"n":2}')""")
        async with asyncio.timeout(10):
            assert [n_of(await got.get()) for _ in range(2)] == [1, 2]
        while len(ear.heard) < 2:
            await mallory.execute("select 1")
        first, second = ear.heard
        check = second.rpartition('"check":"')[2]
        forged = [
            '{"channel":"typing_update","payload":{"n":666}}',
            '{"channel":"typing_update","payload":{"n":666},"n":9,"check":""}',
            f'{{"channel":"typing_update","payload":{{"n":666}},"n":9,"check":"{"0" * 32}"}}',
            f'{{"channel":"typing_update","payload":{{"n":666}},"n":2,"check":"{check}',
            first,  # again
            second,
            second.replace('"n":2}', '"n":666}'),
            second.replace('"n":2,"check"', '"n":3,"check"'),
            second.replace("typing_update", "other_update"),
            second.replace('"check":"', '"check":"é'),
            second[:-2],
            second + " ",
            "",
        ]
        for payload in forged:
            await mallory.execute("select pg_notify('flowcraft_ephemeral', $1)", payload)
        await service.execute("""select flowcraft.broadcast_ephemeral('typing_update', '{"n":3}')""")
        async with asyncio.timeout(10):
            assert n_of(await got.get()) == 3
        assert (got.qsize(), listener.rejected) == (0, len(forged))
    assert "666" not in caplog.text


async def test_events_of_before_a_server_began_are_not_delivered_by_it(database: str) -> None:
    await migrate(database, channels)
    got: asyncio.Queue[Ephemeral] = asyncio.Queue()
    ear = Ear()
    async with connected(database) as service, stranger(database) as mallory:
        await mallory.add_listener("flowcraft_ephemeral", ear)
        await service.execute("""select flowcraft.broadcast_ephemeral('typing_update', '{"n":1}')""")
        await mallory.execute("select 1")
        async with listening(listener := PostgresListener(database, channels, got.put_nowait)):
            await asyncio.wait_for(listener.until_connected(), 10)
            await mallory.execute("select pg_notify('flowcraft_ephemeral', $1)", ear.heard[0])
            await service.execute("""select flowcraft.broadcast_ephemeral('typing_update', '{"n":2}')""")
            assert n_of(await asyncio.wait_for(got.get(), 10)) == 2
            assert listener.rejected == 1


@pytest.mark.parametrize("granted", [False, True], ids=["connect only", "a service"])
@pytest.mark.parametrize(
    "attempt",
    [
        "select * from flowcraft.ephemeral_key",
        "select * from flowcraft.ephemeral_key()",
        "select flowcraft.ephemeral_check('x')",
        "select nextval('flowcraft.ephemeral_number')",
        "update flowcraft.ephemeral_key set inner_key = ''",
    ],
)
async def test_the_key_is_read_by_the_server_alone(database: str, attempt: str, *, granted: bool) -> None:
    await migrate(database, channels)
    async with connected(database) as owner, stranger(database) as mallory:
        if granted:
            name = await mallory.fetchval("select quote_ident(current_user)")
            await owner.execute(
                f"grant usage on schema flowcraft to {name}; grant execute on function flowcraft.broadcast, "
                f"flowcraft.broadcast_ephemeral, flowcraft.cursor to {name}"
            )
            await mallory.execute("""select flowcraft.broadcast_ephemeral('typing_update', '{"n":1}')""")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await mallory.execute(attempt)


async def test_a_server_without_the_right_to_the_key_delivers_none_and_names_the_grant(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    await migrate(database, channels)
    got: asyncio.Queue[Ephemeral] = asyncio.Queue()
    async with connected(database) as owner, stranger(database) as role:
        name = await role.fetchval("select quote_ident(current_user)")
        await owner.execute(f"grant usage on schema flowcraft to {name}")
        dsn = database.replace("postgres@", f"{name.strip(chr(34))}@")
        listener = PostgresListener(dsn, channels, got.put_nowait, check_seconds=0.05)
        async with listening(listener):
            await asyncio.wait_for(listener.until_connected(), 10)
            await owner.execute("""select flowcraft.broadcast_ephemeral('typing_update', '{"n":1}')""")
            while listener.rejected == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert "grant execute on function flowcraft.ephemeral_key to" in caplog.text
            await owner.execute(f"grant execute on function flowcraft.ephemeral_key to {name}")
            async with asyncio.timeout(10):
                while got.empty():  # once it has been read again
                    await owner.execute(
                        """select flowcraft.broadcast_ephemeral('typing_update', '{"n":2}')"""
                    )
                    await asyncio.sleep(0.01)
            assert n_of(got.get_nowait()) == 2
        async with asyncio.timeout(10):
            while (  # noqa: ASYNC110
                await owner.fetchval(
                    "select count(*) from pg_stat_activity where usename = $1", name.strip('"')
                )
                > 1
            ):
                await asyncio.sleep(0.01)


async def test_another_key_is_known_at_the_next_look_and_its_numbers_begin_again(database: str) -> None:
    await migrate(database, channels)
    got: asyncio.Queue[Ephemeral] = asyncio.Queue()
    listener = PostgresListener(database, channels, got.put_nowait, check_seconds=0.05)
    async with connected(database) as owner, listening(listener):
        await asyncio.wait_for(listener.until_connected(), 10)
        for _ in range(3):
            await owner.execute("""select flowcraft.broadcast_ephemeral('typing_update', '{"n":1}')""")
        await owner.execute(
            "truncate flowcraft.ephemeral_key; insert into flowcraft.ephemeral_key default values; "
            "select setval('flowcraft.ephemeral_number', 1, false)"
        )
        async with asyncio.timeout(10):
            while True:
                await owner.execute("""select flowcraft.broadcast_ephemeral('typing_update', '{"n":2}')""")
                if 2 in [n_of(got.get_nowait()) for _ in range(got.qsize())]:
                    break
                await asyncio.sleep(0.01)


def test_numbers_are_taken_once_in_any_order_within_their_span() -> None:
    numbers = EphemeralNumbers(10)
    assert [numbers.take(n) for n in (10, 9, 0, -1, 12, 11, 12, 11)] == [False] * 4 + [
        True,
        True,
        False,
        False,
    ]
    assert numbers.take(11 + numbers.span)
    assert not numbers.take(11)


def test_a_log_from_before_the_check_value_has_events_without_one() -> None:
    got: list[Ephemeral] = []
    events = EphemeralNotifications(channels, got.append)
    unchecked = '{"channel":"typing_update","payload":{"n":1}}'
    events.accept("flowcraft_ephemeral", unchecked)
    assert got == []
    events.trust_all()
    events.accept("flowcraft_ephemeral", unchecked)
    assert list(map(n_of, got)) == [1]


@pytest.mark.parametrize("lock", [1, 2])
async def test_a_lock_held_by_a_stranger_costs_time_and_no_event(database: str, lock: int) -> None:
    await migrate(database, channels)
    async with stranger(database) as mallory, connected(database) as service:
        await mallory.execute(f"select pg_advisory_lock({CLASS}, {lock})")
        async with Realtime(channels, dsn=database, authorizer=Everyone()) as realtime:
            node = await realtime.start()
            await asyncio.wait_for(node.until_accepting(), 10)
            await realtime.backend.until_listening()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
            client = Client()
            node.connect(client, ["note_update", "typing_update"]).received('{"auth":"ada"}')
            await client.until(lambda: client.count("subscribed"))
            for n in range(3):
                await service.execute(f"""select flowcraft.broadcast('note_update', '{{"n":{n}}}')""")
                await client.until(lambda n=n: n in client.events)  # type: ignore[misc]
            await service.execute("""select flowcraft.broadcast_ephemeral('typing_update', '{"n":9}')""")
            await client.until(lambda: 9 in client.events)


async def test_a_server_joins_its_readers_once_the_stranger_has_gone(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    await migrate(database, channels)
    async with stranger(database) as mallory, connected(database) as owner:
        await mallory.execute(f"select pg_advisory_lock({CLASS}, 2)")
        listener = PostgresListener(database, channels, lambda _event: None, check_seconds=0.05)
        async with listening(listener):
            await asyncio.wait_for(listener.until_connected(), 10)
            assert "another session holds the readers lock" in caplog.text
            await mallory.execute(f"select pg_advisory_unlock({CLASS}, 2)")
            readers = (
                "select count(*) from pg_locks where locktype = 'advisory' and classid = $1 and objid = 2"
            )
            async with asyncio.timeout(10):
                while await owner.fetchval(readers, CLASS) == 0:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("lock", "cost"),
    [
        (1, "so writers send no wakeups"),
        (2, "each event may arrive up to a second later"),
        (3, "every migration waits"),
        (4, "so nothing is removed from the log, which grows"),
    ],
)
@pytest.mark.parametrize("how", ["pg_advisory_lock", "pg_advisory_lock_shared"])
async def test_doctor_names_the_holder_of_a_lock(database: str, lock: int, cost: str, how: str) -> None:
    await migrate(database, channels)
    async with stranger(database) as mallory:
        assert (await examine(database, open_seconds=5)).held == ()
        await mallory.execute(f"set application_name = 'flowcraft listener'; select {how}({CLASS}, {lock})")
        (said,) = [one for one in await diagnose_database(database) if one.about == "locks"]
        pid, name = await mallory.fetchval("select pg_backend_pid()"), await mallory.fetchval("select user")
        assert said.verdict == "wrong"
        assert (
            f"process {pid} ('flowcraft listener') of role {name} holds advisory lock {lock}" in said.sentence
        )
        assert cost in said.sentence
        assert f"select pg_terminate_backend({pid})" in said.sentence
        await mallory.execute("select pg_advisory_unlock_all()")


async def test_the_locks_of_servers_and_migrations_are_not_taken_for_strangers(database: str) -> None:
    await migrate(database, channels)
    async with (
        connected(database) as owner,
        listening(listener := PostgresListener(database, channels, lambda _event: None)),
    ):
        await asyncio.wait_for(listener.until_connected(), 10)
        for lock in (1, 3, 4):
            await owner.execute(f"select pg_advisory_lock({CLASS}, {lock})")
        assert (await examine(database, open_seconds=5)).held == ()


async def test_retention_names_who_keeps_it_from_its_work_once(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    await migrate(database, channels)
    async with stranger(database) as mallory:
        retention = PostgresRetention(database, keep_seconds=60, ticked=lambda: None)
        try:
            await retention.tick()
            await mallory.execute(f"select pg_advisory_lock({CLASS}, 4)")
            await retention.tick()
            await retention.tick()
            said = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
            pid = await mallory.fetchval("select pg_backend_pid()")
            assert [text.partition(" of role")[0] for text in said] == [f"retention: process {pid}"]
        finally:
            await retention.close()
