"""`flowcraft doctor` on a real database and a real server, well and unwell."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from flowcraft import Channels, Event, Realtime, Settings
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.entrypoints.serve import Server as WebSocketServer
from flowcraft.testing.databases import DatabaseServer as Server
from tests.support.postgres import connected, migrated

FLOWCRAFT = Path(sys.executable).parent / "flowcraft"


class Noted(Event):
    """Something."""

    n: int


channels = Channels()
channels.declare("note_update", Noted)


async def doctor(*arguments: str, dsn: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """The exit status, and what was said last about each thing."""
    done = await asyncio.to_thread(
        lambda: subprocess.run(
            [FLOWCRAFT, "doctor", "--json", *arguments],
            env={**os.environ, "FLOWCRAFT_DSN": dsn},
            capture_output=True,
            text=True,
            check=False,
        )
    )
    assert done.stdout, done.stderr
    return done.returncode, {s["about"]: (s["verdict"], s["sentence"]) for s in json.loads(done.stdout)}


@asynccontextmanager
async def serving(dsn: str) -> AsyncIterator[str]:
    realtime = Realtime(channels, dsn=dsn, settings=Settings(drain_seconds=0.01, heartbeat_seconds=0.5))
    node = await realtime.start()
    await asyncio.wait_for(node.until_accepting(), 10)
    server = WebSocketServer(node, "127.0.0.1", 0)
    await server.start()
    try:
        yield server.address
    finally:
        await server.stop()
        await realtime.stop()


async def test_all_is_well_with_a_server_on_its_database(database: str) -> None:
    await migrate(database, channels)
    async with serving(database) as url:
        status, said = await doctor("--url", url, dsn=database)
    assert status == 0, said
    assert {about: verdict for about, (verdict, _) in said.items()} == dict.fromkeys(
        [
            *("database", "log", "notifications", "servers", "queue"),
            *("websocket", "event stream", "server", "lag"),
        ],
        "ok",
    )
    assert "1 server reads the log" in said["servers"][1]
    assert said["server"][1].startswith("live, ")


async def test_a_database_without_log_or_server_says_what_to_do(database: str) -> None:
    status, said = await doctor("--url", "ws://127.0.0.1:1/realtime", dsn=database)
    assert status == 1
    assert "flowcraft migrate" in said["log"][1]
    assert said["servers"][0] == "wrong"
    assert "does not respond" in said["server"][1]


@pytest.fixture
def other_database(postgres: Server) -> Iterator[str]:
    name = f"other_{os.getpid()}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


async def test_a_server_on_another_database_is_found_out(database: str, other_database: str) -> None:
    await migrate(database, channels)
    await migrate(other_database, channels)
    async with connected(database) as connection:
        for _ in range(50):  # transactions that the other database has not had
            await connection.execute("select flowcraft.broadcast('note_update', '{\"n\":1}')")
        newest = await connection.fetchval("select max(id) from flowcraft.event")
    async with serving(other_database) as url:
        status, said = await doctor("--event", str(newest), "--url", url, dsn=database)
    assert status == 1
    assert said["subscriber"][0] == "wrong"


async def test_an_event_is_followed_to_a_subscriber(database: str) -> None:
    await migrate(database, channels)
    async with connected(database) as connection:
        await connection.execute("""select flowcraft.broadcast('note_update', '{"type":"Noted","n":1}')""")
        row = await connection.fetchrow("select id, xid::text from flowcraft.event")
        assert row is not None
        async with serving(database) as url:
            for which in (("--event", str(row["id"])), ("--xid", row["xid"])):
                status, said = await doctor(*which, "--url", url, dsn=database)
                assert status == 0, said
                assert "receives event" in said["subscriber"][1]
        status, said = await doctor("--event", str(row["id"]), dsn=database)
        assert (status, said["subscriber"][0]) == (0, "note")


async def test_why_there_is_no_event(database: str) -> None:
    async with migrated(database), connected(database) as writer:
        begun = writer.transaction()
        await begun.start()
        xid = await writer.fetchval("select pg_current_xact_id()::text")
        assert "still open" in (await doctor("--xid", xid, dsn=database))[1]["row"][1]
        await begun.rollback()
        assert "rolled back" in (await doctor("--xid", xid, dsn=database))[1]["row"][1]
        empty = await writer.fetchval("select pg_current_xact_id()::text")
        assert "committed without an event" in (await doctor("--xid", empty, dsn=database))[1]["row"][1]
        assert "no transaction" in (await doctor("--xid", str(int(xid) + 10**6), dsn=database))[1]["row"][1]
        status, said = await doctor("--event", "4711", dsn=database)
        assert (status, said["row"][0]) == (1, "wrong")


async def test_an_open_transaction_is_named(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from flowcraft.entrypoints import diagnosis

    monkeypatch.setattr(diagnosis, "OPEN_SECONDS", 0.0)
    async with migrated(database):
        writer = await asyncpg.connect(database, server_settings={"application_name": "the importer"})
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute("select flowcraft.broadcast('note_update', '1')")
        said = {one.about: one.sentence for one in await diagnosis.diagnose_database(database)}
        assert "the importer" in said["open transaction"]
        await transaction.rollback()
        await writer.close()
