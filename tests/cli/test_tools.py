"""A terminal user's tools, on a real database: `tail`, `publish`, `token`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flowcraft.adapters.jwt import JwtAuthorizer
from flowcraft.adapters.postgres.retention import purge
from flowcraft.entrypoints.log_tail import Patterns
from tests.support.postgres import connected, migrated

FLOWCRAFT = Path(sys.executable).parent / "flowcraft"
SECRET = "a secret of at least thirty-two bytes"
APPLICATION = """
from flowcraft import Channels, Event

class Noted(Event):
    n: int
    text: str = "nothing"

channels = Channels()
channels.declare("note_update", Noted)
channels.declare("notes.{name}", Noted, params={"name": str})
channels.declare("fleeting_update", Noted, durable=False)
"""


@pytest.fixture
def application(tmp_path: Path) -> Path:
    (tmp_path / "live.py").write_text(APPLICATION)
    return tmp_path


async def flowcraft(
    *arguments: str, dsn: str = "", folder: Path | None = None, said: str = "", secret: str = ""
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FLOWCRAFT_DSN": dsn, "FLOWCRAFT_TOKEN_SECRET": secret}
    return await asyncio.to_thread(
        lambda: subprocess.run(
            [FLOWCRAFT, *arguments],
            cwd=folder,
            env=environment,
            input=said,
            capture_output=True,
            text=True,
            check=False,
        )
    )


@asynccontextmanager
async def tailing(dsn: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(str(FLOWCRAFT), "tail", *arguments),
        env={**os.environ, "FLOWCRAFT_DSN": dsn},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def emit(dsn: str, channel: str, payload: str) -> None:
    async with connected(dsn) as connection:
        await connection.execute("select flowcraft.broadcast($1, $2::text::json)", channel, payload)


@pytest.mark.parametrize(
    ("patterns", "channel", "fits"),
    [
        ([], "run_update", True),
        (["*"], "runs.1", True),
        (["runs.*"], "runs.1", True),
        (["runs.*"], "runs_update", False),
        (["runs.*"], "run_update", False),
        (["run_update"], "run_update", True),
        (["runs.1"], "runs.12", False),
        (["run_update", "runs.*"], "runs.12", True),
    ],
)
def test_a_pattern_is_a_name_a_family_or_everything(patterns: list[str], channel: str, fits: bool) -> None:
    assert Patterns(patterns).fit(channel) is fits


async def test_what_is_committed_is_shown_from_a_position_on_and_in_json(database: str) -> None:
    async with migrated(database) as log:
        start = (await log.position()).cursor
        for n in range(3):
            await emit(database, f"notes.{n % 2}", f'{{"n": {n}}}')
        shown = await flowcraft(
            "tail", "notes.0", "--json", "--since", str(start), "--count", "2", dsn=database
        )
        assert shown.returncode == 0
        assert shown.stderr.startswith("waiting for events on notes.0, in database flowcraft_test_")
        assert shown.stderr.endswith(" at the local socket, after the cursor\n")
        events = [json.loads(line) for line in shown.stdout.splitlines()]
        assert [(event["channel"], event["payload"]) for event in events] == [
            ("notes.0", {"n": 0}),
            ("notes.0", {"n": 2}),
        ]
        assert events[0]["id"] < events[1]["id"]


async def test_a_name_that_the_project_does_not_declare_is_noted(application: Path, database: str) -> None:
    async with migrated(database) as log:
        start = (await log.position()).cursor
        await emit(database, "note_update", '{"n": 1}')
        names = ("notes_update", "notes.*", "notez.*", "note_update.*", "note_update")
        shown = await flowcraft(
            "tail", *names, "--since", str(start), "--count", "1", dsn=database, folder=application
        )
    assert shown.stderr.splitlines()[:-1] == [
        "note: channel 'notes_update' is not declared; did you mean 'note_update'?",
        "note: channel 'notez' is not declared; did you mean 'notes.{name}'?",
        "note: note_update is no family: flowcraft tail note_update",
    ]
    assert shown.stdout.endswith('{"n": 1}\n')


async def test_it_follows_until_it_is_told_to_end(database: str) -> None:
    async with migrated(database), tailing(database, "notes.*") as process:
        assert process.stdout is not None
        line = asyncio.create_task(process.stdout.readline())
        async with asyncio.timeout(20):
            while not line.done():  # it begins from now: say it until it is there to hear
                await emit(database, "notes.a", "1")
                await asyncio.wait([line], timeout=0.1)
        assert b" notes.a #" in line.result()
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_whoever_has_read_enough_ends_it(database: str) -> None:
    async with migrated(database) as log:
        start = (await log.position()).cursor
        await emit(database, "notes.a", "1")
        command = f"{FLOWCRAFT} tail --since '{start}' | head -n 1"
        done = await asyncio.create_subprocess_shell(
            command,
            env={**os.environ, "FLOWCRAFT_DSN": database},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        while done.returncode is None:
            await emit(database, "notes.a", "2")
            await asyncio.wait([asyncio.create_task(done.wait())], timeout=0.2)
        out, errors = await done.communicate()
        assert b"notes.a" in out
        assert errors.startswith(b"waiting for events on every channel, in database ")
        assert errors.count(b"\n") == 1


async def test_a_position_that_is_gone_is_told(database: str) -> None:
    async with migrated(database) as log:
        start = (await log.position()).cursor
        await emit(database, "notes.a", "1")
        await purge(database, [None], dry_run=False)
        async with connected(database) as connection:
            await connection.execute("select flowcraft.trim(pg_current_xact_id())")
        shown = await flowcraft("tail", "--since", str(start), "--count", "1", dsn=database)
        assert shown.returncode == 1
        assert "leave out --since" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tail", "Run Update"), "neither a channel"),
        (("tail", "--since", "yesterday"), "is not a cursor"),
        (("token", "ada"), "set FLOWCRAFT_TOKEN_SECRET"),
    ],
)
async def test_what_cannot_be_meant_is_refused(arguments: tuple[str, ...], said: str) -> None:
    refused = await flowcraft(*arguments, dsn="postgresql://nowhere/x")
    assert refused.returncode == 2
    assert said in refused.stderr


async def test_an_event_is_published_as_declared_or_not_at_all(database: str, application: Path) -> None:
    async with migrated(database), connected(database) as connection:
        done = await flowcraft(
            "broadcast", "live:channels", "notes.a", '{"n": 1}', dsn=database, folder=application
        )
        assert (done.returncode, done.stderr) == (0, "")
        said = await flowcraft(
            "broadcast",
            "live:channels",
            "note_update",
            "-",
            dsn=database,
            folder=application,
            said='{"n": 2}',
        )
        assert said.returncode == 0
        for channel, payload, reason in (
            ("note_update", '{"n": "one"}', "n"),
            ("nots_update", '{"n": 1}', "nots_update"),
        ):
            refused = await flowcraft(
                "broadcast", "live:channels", channel, payload, dsn=database, folder=application
            )
            assert refused.returncode == 1
            assert reason in refused.stderr
        rows = await connection.fetch("select channel, payload::json from flowcraft.event order by id")
        assert [(channel, json.loads(payload)) for channel, payload in rows] == [
            ("notes.a", {"type": "Noted", "n": 1, "text": "nothing"}),
            ("note_update", {"type": "Noted", "n": 2, "text": "nothing"}),
        ]


async def test_without_a_log_publishing_says_how_to_get_one(database: str, application: Path) -> None:
    refused = await flowcraft(
        "broadcast", "live:channels", "note_update", '{"n": 1}', dsn=database, folder=application
    )
    assert refused.returncode == 1
    assert "flowcraft migrate" in refused.stderr


async def test_a_token_is_one_that_the_authorizer_takes() -> None:
    made = await flowcraft(
        "token", "ada", "--claims", '{"role": "admin"}', "--audience", "app", secret=SECRET
    )
    assert made.returncode == 0
    viewer = await JwtAuthorizer(SECRET, audience="app").authenticate(made.stdout.strip())
    assert (viewer.subject, viewer.claims["role"]) == ("ada", "admin")


async def test_a_secret_that_can_be_guessed_makes_no_token() -> None:
    refused = await flowcraft("token", "ada", secret="short")
    assert refused.returncode == 2
    assert "32" in refused.stderr
