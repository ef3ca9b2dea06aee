"""JSON logs: one object a line, and nobody's payload or token in any of them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import jwt
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from flowcraft.adapters.json_logs import JsonLines
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from tests.support.postgres import connected

KEY = "a key of at least thirty-two bytes, for tests"
SECRET = "what-nobody-may-read"
APPLICATION = f"""
from flowcraft import Channels, Event, JwtAuthorizer, Realtime, Settings, Viewer

class Noted(Event):
    text: str

channels = Channels()
channels.declare("note_update", Noted)
presence = channels.declare("presence_update", Noted, durable=False)
diary = channels.declare("diary_update", Noted)

@diary.guard
def broken(viewer: Viewer) -> bool:
    raise LookupError("the table of guards is away")

realtime = Realtime(channels, settings=Settings(drain_seconds=0.1), authorizer=JwtAuthorizer({KEY!r}))
"""


def token(**claims: object) -> str:
    now = int(time.time())
    return jwt.encode({"sub": SECRET, "iat": now, "exp": now + 600, **claims}, KEY, "HS256")


async def until(client: ClientConnection, member: str) -> None:
    async with asyncio.timeout(10):
        while member not in json.loads(await client.recv()):
            pass


async def until_heard(
    client: ClientConnection, connection: asyncpg.Connection[asyncpg.Record], payload: str
) -> None:
    """Broadcast an ephemeral event until one arrives: a worker that has just begun may not listen yet."""
    while True:
        await connection.execute(
            "select flowcraft.broadcast_ephemeral('presence_update', $1::text::json)", payload
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(until(client, "channel"), 1)
            return


async def converse(address: str, dsn: str, good: str, bad: str) -> None:
    """Do all that is logged, and much that is not, with a secret in it wherever one can be."""
    payload = json.dumps({"type": "Noted", "text": SECRET})
    async with connected(dsn) as connection, await admitted(address) as client:
        await client.send(json.dumps({"auth": good}))
        await client.send(json.dumps({"subscribe": ["note_update", "presence_update"]}))
        await until(client, "subscribed")
        await connection.execute("select flowcraft.broadcast('note_update', $1::text::json)", payload)
        await until(client, "channel")
        await until_heard(client, connection, payload)
        for rejected in (f'{{"type":"Noted","text":{{"{SECRET}":1}}}}', f'"{SECRET}"'):
            await connection.execute(
                "select flowcraft.broadcast_ephemeral('presence_update', $1::text::json)", rejected
            )
        for message in (f'{{"{SECRET}":1}}', SECRET, json.dumps({"subscribe": [SECRET, "diary_update"]})):
            await client.send(message)
            await until(client, "error")
        await client.send(json.dumps({"subscribe": ["note_update"], "since": SECRET}))
        await until(client, "reset")
    for refused in (bad, token(exp=1), SECRET):
        await until_closed(address, refused)
    with pytest.raises(InvalidStatus, match="400"):
        await connect(f"{address}?token={good}")


async def until_closed(address: str, refused: str) -> None:
    async with connect(address) as client:
        await client.send(json.dumps({"auth": refused}))
        await asyncio.wait_for(client.wait_closed(), 10)


async def admitted(address: str) -> ClientConnection:
    """A client of a server that may have just begun."""
    async with asyncio.timeout(10):
        while True:
            with suppress(InvalidStatus):
                return await connect(address)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_no_line_holds_a_payload_or_a_token(tmp_path: Path, database: str, workers: str) -> None:
    (tmp_path / "live.py").write_text(APPLICATION)
    await migrate(database, Channels())
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).parent / "flowcraft", "serve", "live:realtime", "--port", "0"),
        *("--workers", workers, "--log-format", "json"),
        cwd=tmp_path,
        env={**os.environ, "FLOWCRAFT_DSN": database},
        stdout=PIPE,
        stderr=PIPE,
    )
    assert process.stdout is not None
    good, bad = token(), token()[:-4] + "AAAA"
    try:
        address = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()
        await converse(address, database, good, bad)
    finally:
        process.terminate()
        _, log = await asyncio.wait_for(process.communicate(), 20)
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.decode().splitlines()]
    templates = {line["template"] for line in lines}
    assert {"the guard of %s raised; its viewer is refused", "limits in force: %s"} <= templates
    assert {"notification on %s rejected (%s), %d so far"} <= templates
    who = {line.get("worker") for line in lines}
    assert who == {None} if workers == "1" else {None} < who <= {None, 1, 2}
    assert all(told not in log.decode() for told in (SECRET, good, bad, KEY))


def test_a_line_has_what_was_said_and_what_all_that_say_it_have_in_common() -> None:
    try:
        raise LookupError("nobody is there")
    except LookupError:
        failed = sys.exc_info()
    record = logging.LogRecord("flowcraft", logging.WARNING, __file__, 1, "%s failed", ("relay",), failed)
    line = json.loads(JsonLines(worker=2).format(record))
    assert {name: line[name] for name in ("level", "logger", "worker", "message", "template", "error")} == {
        "level": "warning",
        "logger": "flowcraft",
        "worker": 2,
        "message": "relay failed",
        "template": "%s failed",
        "error": "LookupError",
    }
    assert line["traceback"].endswith("LookupError: nobody is there")
