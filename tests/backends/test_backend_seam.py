"""A backend of one's own: a log in SQLite, plugged in with `backend=`, and served by the dedicated server."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from examples.backends.sqlite import SqliteBackend, SqliteTransaction
from faults.histories import Began, Received
from faults.probe import Probe
from faults.proxy import FaultProxy
from flowcraft import Channels, Event, MemoryBackend, PostgresBackend, Realtime, Settings
from flowcraft.entrypoints.cli import app
from flowcraft.entrypoints.realtime import NotOnPostgres
from flowcraft.entrypoints.serve import Server
from flowcraft.ports import BackendContext, LogReader


class Changed(Event):
    """A row was changed."""

    row: int
    version: int


channels = Channels()
row_update = channels.declare("row_update", Changed)
typing_update = channels.declare("typing_update", Changed, durable=False)
QUICK = Settings(drain_seconds=0.01)
in_memory = Realtime(channels, backend=MemoryBackend())


@pytest.fixture
async def realtime(tmp_path: Path) -> AsyncIterator[Realtime]:
    async with Realtime(channels, backend=SqliteBackend(str(tmp_path / "app.db")), settings=QUICK) as made:
        yield made


async def serve(realtime: Realtime) -> Server:
    node = await realtime.start()
    await node.until_accepting()
    server = Server(node, "127.0.0.1", 0)
    await server.start()
    return server


async def say(realtime: Realtime, version: int) -> None:
    await realtime.broadcast(row_update, Changed(row=1, version=version))


def versions(marks: Sequence[object]) -> list[int]:
    return [mark.version for mark in marks if isinstance(mark, Received)]


async def test_a_client_resumes_on_a_log_in_sqlite_and_receives_exactly_what_it_missed(
    realtime: Realtime, tmp_path: Path
) -> None:
    server = await serve(realtime)
    port = int(server.address.rpartition(":")[2].partition("/")[0])
    async with asyncio.timeout(30), FaultProxy.open(("127.0.0.1", port)) as proxy:
        probe = Probe(server.address.replace(f":{port}/", f":{proxy.port}/"), random=random.Random(1))
        history = probe.subscribe("row_update")
        await probe.start()
        await probe.until_live()
        await say(realtime, 1)
        await settled(probe, tmp_path)
        proxy.refuse()
        proxy.reset()
        await probe.until_attempted(2)
        with SqliteTransaction(str(tmp_path / "app.db")) as transaction:
            for version in (2, 3):
                await realtime.broadcast(row_update, Changed(row=1, version=version), via=transaction)
        await say(realtime, 4)
        proxy.heal()
        await settled(probe, tmp_path)
        await say(realtime, 5)
        await settled(probe, tmp_path)
        assert isinstance(history.marks[0], Began)
        assert versions(history.marks) == [1, 2, 3, 4, 5]
        assert (probe.resets, probe.mismatches, probe.connects) == ({}, 0, 2)
        await probe.close()
    await server.stop()


async def settled(probe: Probe, folder: Path) -> None:
    """Wait until the newest transaction of the file has been delivered."""
    with sqlite3.connect(folder / "app.db") as connection:
        ((newest,),) = connection.execute("select xid from log")
    await probe.settled(newest)


async def test_it_serves_again_after_it_was_stopped(realtime: Realtime, tmp_path: Path) -> None:
    async with asyncio.timeout(30):
        for version in (1, 2):
            server = await serve(realtime)
            probe = Probe(server.address)
            history = probe.subscribe("row_update")
            await probe.start()
            await probe.until_live()
            await say(realtime, version)
            await settled(probe, tmp_path)
            assert versions(history.marks) == [version]
            await probe.close()
            await server.stop()
            await realtime.stop()


async def test_a_memory_backend_serves_too_and_delivers_what_is_outside_the_log() -> None:
    async with asyncio.timeout(30), Realtime(channels, backend=MemoryBackend(), settings=QUICK) as realtime:
        server = await serve(realtime)
        delivered = asyncio.Event()

        def note(channel: str, payload: str, now: float) -> None:  # the probe's
            delivered.set()

        probe = Probe(server.address, on_event=note)
        history = probe.subscribe("typing_update")
        await probe.start()
        await probe.until_live()
        await realtime.broadcast(typing_update, Changed(row=1, version=7))
        await delivered.wait()
        assert versions(history.marks) == [7]
        await probe.close()
        await server.stop()


def test_an_address_and_a_backend_contradict_one_another() -> None:
    with pytest.raises(TypeError, match=r"pass dsn=\.\.\. or backend=\.\.\., not both"):
        Realtime(channels, dsn="postgresql://localhost/app", backend=PostgresBackend())


def test_the_default_is_a_database_whose_address_is_looked_up_when_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    realtime, own = Realtime(channels), Realtime(channels, backend=PostgresBackend("postgresql://own/app"))
    assert isinstance(realtime.backend, PostgresBackend)
    monkeypatch.setenv("DATABASE_URL", "postgresql://later/app")
    assert (realtime.dsn, own.dsn) == ("postgresql://later/app", "postgresql://own/app")


def test_an_upkeep_task_may_not_have_the_name_of_a_task_of_the_node() -> None:
    class Clashing(MemoryBackend):
        def open(self, context: BackendContext) -> LogReader:
            return replace(super().open(context), upkeep={"relay": never})

    async def never() -> None:
        await asyncio.Event().wait()

    async def start() -> None:
        async with Realtime(channels, backend=Clashing()) as realtime:
            await realtime.start()

    with pytest.raises(ValueError, match="a task 'relay' is kept already; give this one another name"):
        asyncio.run(start())


def test_code_that_cannot_wait_needs_a_backend_that_takes_its_transactions() -> None:
    with pytest.raises(TypeError, match=r"MemoryBackend supports no synchronous transactions; await "):
        in_memory.broadcast_sync(row_update, Changed(row=1, version=1), via=object())


SENTENCE = (
    "this needs a PostgreSQL database, and the application is on MemoryBackend; "
    "pass --dsn to the command, or use PostgresBackend"
)
TARGET = "tests.backends.test_backend_seam:in_memory"


def test_an_application_on_another_backend_has_no_address() -> None:
    with pytest.raises(NotOnPostgres) as refused:
        _ = in_memory.dsn
    assert str(refused.value) == SENTENCE


@pytest.mark.parametrize("command", [["migrate", TARGET], ["broadcast", TARGET, "row_update", "{}"]])
def test_a_command_that_needs_a_database_ends_with_a_sentence(command: list[str]) -> None:
    if command[0] == "broadcast":
        command[-1] = '{"type":"Changed","row":1,"version":1}'
    ended = CliRunner().invoke(app, command)
    assert (ended.exit_code, ended.stderr) == (1, f"error: {SENTENCE}\n")
