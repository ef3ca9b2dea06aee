"""The command on a real database and a real port."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from flowcraft.adapters.postgres.retention import purge
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from flowcraft.errors import CursorExpired
from tests.support.postgres import connected, migrated

FLOWCRAFT = Path(sys.executable).parent / "flowcraft"
APPLICATION = """
from uuid import UUID
from flowcraft import Channels, Event, Table

class RunUpdate(Event):
    run_id: UUID

channels = Channels()
channels.declare("run_update", RunUpdate, source=Table("runs", run_id="id"))
"""


@pytest.fixture
def application(tmp_path: Path) -> Path:
    (tmp_path / "live.py").write_text(APPLICATION)
    return tmp_path


def flowcraft(folder: Path, *arguments: str, dsn: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FLOWCRAFT_DSN": dsn}
    return subprocess.run(
        [FLOWCRAFT, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


async def test_a_database_is_migrated_once_and_then_up_to_date(application: Path, database: str) -> None:
    refused = flowcraft(application, "migrate", "live:channels", dsn=database)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "runs" in refused.stderr, "the table of the source is not there yet"

    connection = await asyncpg.connect(database)
    await connection.execute("create table runs (id uuid primary key)")
    done = flowcraft(application, "migrate", "live:channels", dsn=database)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) >= 2

    again = flowcraft(application, "migrate", "live:channels", "--dsn", database)
    assert (again.returncode, again.stdout, again.stderr) == (0, "the database is up to date\n", "")
    assert await connection.fetchval("select to_regclass('flowcraft.event') is not null")
    await connection.close()


LOCKS = {
    "a stranger's advisory lock": (
        "select pg_advisory_xact_lock(1718382455, 3)",
        "another migration, or a session that holds its advisory lock",
    ),
    "a table in use": ("lock table runs in row exclusive mode", "a lock on public.runs"),
}


@pytest.mark.parametrize("lock", LOCKS)
async def test_a_migration_that_waits_prints_which_session_has_the_lock(
    application: Path, database: str, lock: str
) -> None:
    sql, what = LOCKS[lock]
    async with connected(database) as other:
        await other.execute("set application_name = 'nightly'; create table runs (id uuid primary key)")
        await other.execute(f"begin; {sql}")
        waits = await asyncio.create_subprocess_exec(
            *(FLOWCRAFT, "migrate", "live:channels"),
            cwd=application,
            env={**os.environ, "FLOWCRAFT_DSN": database},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert waits.stderr is not None
        line = (await asyncio.wait_for(waits.stderr.readline(), 30)).decode()
        assert line.startswith(f"waiting for {what}: process {other.get_server_pid()} ('nightly') of role ")
        assert "has it (idle in transaction, in a transaction for " in line
        assert f" s, last query: begin; {sql}" in line
        assert line.endswith(f"end it with `select pg_terminate_backend({other.get_server_pid()})`\n")
        await other.execute("rollback")
        done, errors = await asyncio.wait_for(waits.communicate(), 30)
        assert (waits.returncode, errors) == (0, b"")
        assert b"created the triggers on public.runs" in done


@pytest.mark.parametrize("lock", LOCKS)
async def test_a_migration_gives_up_after_its_lock_timeout_and_changes_nothing(
    application: Path, database: str, lock: str
) -> None:
    async with connected(database) as other:
        await other.execute("create table runs (id uuid primary key)")
        await other.execute(f"begin; {LOCKS[lock][0]}")
        done = await asyncio.to_thread(
            flowcraft, application, "migrate", "live:channels", "--lock-timeout", "0.2", dsn=database
        )
        sentence = "another session had a lock for 0.2 seconds; nothing was changed"
        assert (done.returncode, done.stdout) == (1, "")
        assert sentence in done.stderr
        await other.execute("rollback")
        assert await other.fetchval("select to_regnamespace('flowcraft')") is None


async def test_the_sql_does_what_migrate_does(application: Path, database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("create table runs (id uuid primary key)")
    await connection.execute(flowcraft(application, "migrate", "live:channels", "--sql").stdout)
    await connection.close()
    again = flowcraft(application, "migrate", "live:channels", dsn=database)
    assert (again.returncode, again.stdout) == (0, "the database is up to date\n")


def test_a_server_says_where_it_listens_serves_once_it_can_and_ends_when_told(
    application: Path, database: str
) -> None:
    environment = {**os.environ, "FLOWCRAFT_DSN": database, "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(
        [FLOWCRAFT, "serve", "live:channels", "--port", "0"],
        cwd=application,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert address.startswith("ws://127.0.0.1:")
        health = address.replace("ws://", "http://").removesuffix("/realtime")
        with urllib.request.urlopen(f"{health}/healthz") as answer:
            assert answer.read() == b"ok\n"
        with pytest.raises(urllib.error.HTTPError, match="503") as refused:
            urllib.request.urlopen(f"{health}/readyz")
        assert json.loads(refused.value.read())["ready"] is False, "this database was never migrated"
        refused.value.close()
        asyncio.run(migrate(database, Channels()))
        assert ready_within(10, f"{health}/readyz")["tasks"]["relay"]["last_error"] is None
        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=10)
        assert server.returncode == 0
        assert "limits in force: heartbeat_seconds=25.0, " in log
    finally:
        server.kill()
        server.communicate()


async def test_purged_events_are_gone_from_the_log(application: Path, database: str) -> None:
    async with migrated(database) as log, connected(database) as connection:
        start = (await log.position()).cursor
        for name in ("runs.1", "runs.1", "runs.2", "runs_2", "run_update"):
            await connection.execute("select flowcraft.broadcast($1, '{}')", name)

        counted = flowcraft(application, "purge", "--all", "--dry-run", dsn=database)
        assert (counted.returncode, counted.stdout) == (0, "all channels: 5 events would be removed\n")

        one = flowcraft(application, "purge", "--channel", "runs.2", "--channel", "runs.3", dsn=database)
        assert one.stdout == "runs.2: 1 event removed\nruns.3: 0 events removed\n"
        family = flowcraft(application, "purge", "--channel", "runs.*", "--dsn", database)
        assert (family.stdout, family.stderr) == ("runs.*: 2 events removed\n", "")
        assert [record.channel for record in (await log.tail(start)).records] == ["runs_2", "run_update"]

        rest = flowcraft(application, "purge", "--all", dsn=database)
        assert (rest.returncode, rest.stdout) == (0, "all channels: 2 events removed\n")
        with pytest.raises(CursorExpired):
            await log.tail(start)
        after = (await log.position()).cursor
        assert (
            flowcraft(application, "purge", "--all", dsn=database).stdout
            == "all channels: 0 events removed\n"
        )
        assert (await log.tail(after)).records == ()


async def test_a_purge_of_everything_spares_who_follows_a_transaction_that_runs(database: str) -> None:
    async with migrated(database) as log, connected(database) as connection:
        late = await log.begin()
        await connection.execute("select flowcraft.broadcast('runs.1', '1')")
        cursor = (await log.position()).cursor
        assert await purge(database, [None], dry_run=False) == [1]
        await late.broadcast("runs.1", "2")
        await late.commit()
        assert [record.payload for record in (await log.tail(cursor)).records] == ["2"]


def test_a_purge_that_cannot_be_done_says_why(application: Path, database: str) -> None:
    refused = flowcraft(application, "purge", "--all", dsn=database)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: the database has no schema flowcraft")
    unknown = flowcraft(application, "purge", "--all")
    assert (unknown.returncode, unknown.stderr) == (
        1,
        "error: no database: pass dsn=..., or set FLOWCRAFT_DSN or DATABASE_URL\n",
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no events chosen: use --channel NAME, once or more, or --all"),
        (["--all", "--channel", "runs.1"], "no events chosen: use --channel NAME, once or more, or --all"),
        (["--channel", "*"], "'*' is neither a channel, such as runs.42, nor a family, such as 'runs.*'"),
        (
            ["--channel", "runs.%"],
            "'runs.%' is neither a channel, such as runs.42, nor a family, such as 'runs.*'",
        ),
    ],
)
def test_a_purge_wants_to_know_what(application: Path, arguments: list[str], sentence: str) -> None:
    refused = flowcraft(application, "purge", *arguments, dsn="postgresql://nowhere.invalid/none")
    assert (refused.returncode, refused.stdout, refused.stderr) == (2, "", f"error: {sentence}\n")


def ready_within(seconds: float, page: str) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(page) as answer:
                health: dict[str, Any] = json.loads(answer.read())
                return health
        except urllib.error.HTTPError as refused:
            refused.close()
            assert time.monotonic() < deadline
