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

from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels

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
