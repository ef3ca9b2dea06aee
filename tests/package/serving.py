"""An installed server on a database of its own, both from the wheel."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.artefacts import Installation, clean_environment

APPLICATION = """
from flowcraft import Channels, Event, Realtime, Settings

class Counted(Event):
    n: int

channels = Channels()
channels.declare("count_update", Counted)
realtime = Realtime(channels, settings=Settings(drain_seconds=0.2))
"""
DATABASE = """
import sys
from flowcraft.adapters.postgres.embedded import EmbeddedPostgres
with EmbeddedPostgres.start() as server:
    print(server.dsn, flush=True)
    sys.stdin.read()
"""


@asynccontextmanager
async def started(folder: Path, *command: str | Path, **variables: str) -> AsyncIterator[tuple[Process, str]]:
    """Run a program as long as it is needed; yield it and the first line that it prints."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=clean_environment(**variables), stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None
    try:
        yield process, (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()
    finally:
        if process.returncode is None:
            process.terminate()
        _, complaints = await asyncio.wait_for(process.communicate(), 30)
        print(complaints.decode())


@asynccontextmanager
async def installed_server(installation: Installation, folder: Path) -> AsyncIterator[tuple[str, str]]:
    """Migrate a new database and serve it, with the installed commands; yield the addresses of both.

    It has to end in order when it is told to.
    """
    (folder / "live.py").write_text(APPLICATION)
    async with started(folder, installation.python, "-c", DATABASE) as (_, dsn):
        migrate = (installation.flowcraft, "migrate", "live:realtime", "--dsn", dsn)
        await asyncio.to_thread(installation.run, *migrate, cwd=folder)
        serve = (installation.flowcraft, "serve", "live:realtime", "--port", "0")
        async with started(folder, *serve, DATABASE_URL=dsn) as (server, address):
            async with asyncio.timeout(20):
                while not await asyncio.to_thread(is_ready, address):
                    pass
            yield dsn, address
        assert server.returncode == 0


def is_ready(address: str) -> bool:
    """Tell whether the server of this WebSocket has read the log, and takes connections."""
    page = address.replace("ws://", "http://").replace("/realtime", "/readyz")
    try:
        with urllib.request.urlopen(page) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as refused:
        refused.close()
        return False
