"""`flowcraft bench`: a crowd on a real server and a real database, and what it says when that cannot be."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import jwt
import pytest

from flowcraft.entrypoints.bench import BROADCAST, PAYLOAD, own_server
from flowcraft.entrypoints.bench_app import CHANNEL
from flowcraft.testing.load_clients import LoadClients, LoadClientsRefused
from tests.scaffolding.started import running
from tests.support.postgres import connected, migrated

FLOWCRAFT = Path(sys.executable).parent / "flowcraft"


async def flowcraft(*arguments: str, dsn: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FLOWCRAFT_DSN": dsn}
    return await asyncio.to_thread(
        lambda: subprocess.run(
            [FLOWCRAFT, "bench", *arguments], env=environment, capture_output=True, text=True, check=False
        )
    )


async def test_it_measures_with_more_and_more_clients_and_leaves_nothing(database: str) -> None:
    async with migrated(database), connected(database) as connection:
        done = await flowcraft("--clients", "150", "--seconds", "0.4", "--json", dsn=database)
        assert done.returncode == 0, done.stderr
        steps = json.loads(done.stdout)
        assert [step["clients"] for step in steps] == [100, 150]
        for step in steps:
            assert step["messages_per_s"] > 0
            assert 0 < step["p50_ms"] <= step["p99_ms"]
        assert "150 clients: connecting" in done.stderr
        assert await connection.fetchval("select count(*) from flowcraft.event") == 0


async def test_people_get_a_table(database: str) -> None:
    async with migrated(database):
        done = await flowcraft("--clients", "3", "--seconds", "0.2", dsn=database)
        head, row = done.stdout.splitlines()[1:]
        assert head.split()[0] == "clients"
        assert row.split()[0] == "3"


async def test_a_server_that_runs_is_measured_by_its_own_channel(database: str) -> None:
    async with migrated(database), own_server(database, 1) as served:
        theirs = ("--url", served.url, "--channel", CHANNEL, "--payload", PAYLOAD)
        done = await flowcraft(*theirs, "--clients", "2", "--seconds", "0.2", "--json", dsn=database)
        assert done.returncode == 0, done.stderr
        (step,) = json.loads(done.stdout)
        assert step["kb_per_client"] is None

        refused = await flowcraft(*theirs[:3], "nobodys_update", *theirs[4:], dsn=database)
        assert refused.returncode == 1
        assert "nobodys_update" in refused.stderr


MOUNTED = """\
from contextlib import asynccontextmanager

from fastapi import FastAPI

from flowcraft import Channels, Event, JwtAuthorizer, Realtime


class Noted(Event):
    n: int


channels = Channels()
channels.declare("note_update", Noted)
realtime = Realtime(channels, authorizer=JwtAuthorizer("k" * 32, algorithm="HS256"))


@asynccontextmanager
async def lifespan(_):
    async with realtime:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/api/realtime", realtime.asgi())
"""


async def test_an_application_that_mounts_it_below_a_prefix_is_measured(here: Path, database: str) -> None:
    (here / "app.py").write_text(MOUNTED)
    token = jwt.encode({"sub": "ada", "exp": time.time() + 600}, "k" * 32, algorithm="HS256")
    event = ("--channel", "note_update", "--payload", '{"type":"Noted","n":1}')
    few = ("--clients", "2", "--seconds", "0.2", "--json")
    serve = ("uvicorn", "app:app", "--port", "0")
    async with (
        migrated(database),
        running(here, *serve, sign="Uvicorn running on", DATABASE_URL=database) as (_, line),
    ):
        address = f"{re.findall(r'http://[^ ]+', line)[0]}/api/realtime"
        done = await flowcraft("--url", f"{address}/", "--token", token, *event, *few, dsn=database)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)[0]["clients"] == 2
        without_slash = await flowcraft("--url", address, "--token", token, *event, *few, dsn=database)
        assert f"{address.replace('http', 'ws')}/\n" in without_slash.stderr
        without_token = await flowcraft("--url", f"{address}/", *event, *few, dsn=database)
        assert "pass a token with --token" in without_token.stderr


async def test_every_client_of_a_crowd_counts(database: str) -> None:
    async with migrated(database), own_server(database, 2) as served, connected(database) as connection:
        crowd = LoadClients(served.address)
        await crowd.grow(20)
        for count in (1, 3):
            complete = crowd.expect(20 * count)
            await connection.execute(BROADCAST, CHANNEL, PAYLOAD, count)
            await asyncio.wait_for(complete.wait(), 10)
        assert (len(crowd), crowd.received) == (20, 80)
        crowd.close()


async def test_a_crowd_at_the_wrong_door_says_what_it_heard(database: str) -> None:
    async with migrated(database), own_server(database, 1) as served:
        with pytest.raises(ExceptionGroup) as refused:
            await LoadClients(served.url.replace("/realtime", "/nowhere")).grow(1)
        (error,) = refused.value.exceptions
        assert isinstance(error, LoadClientsRefused)
        assert "404" in str(error)


async def test_a_database_without_a_log_is_told_how_to_get_one(database: str) -> None:
    done = await flowcraft("--clients", "1", "--seconds", "0.2", dsn=database)
    assert done.returncode == 1
    assert "flowcraft migrate" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--url", "ws://127.0.0.1:1/realtime"), "go together"),
        (("--token", "secret"), "goes with --url"),
        (("--url", "ws://127.0.0.1:1/x", "--channel", "a_update", "--payload", "{"), "not JSON"),
    ],
)
async def test_what_does_not_fit_together_is_refused(arguments: tuple[str, ...], said: str) -> None:
    done = await flowcraft(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


async def test_more_clients_than_open_files_are_refused() -> None:
    done = await flowcraft("--clients", "100000000", dsn="postgresql://nowhere/x")
    assert done.returncode == 1
    assert "ulimit" in done.stderr
