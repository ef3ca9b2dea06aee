"""A project that was started, and its service, as somebody would run it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.asyncio.client import connect

BIN = Path(sys.executable).parent


def environment(**more: str) -> dict[str, str]:
    """Return ours, with the tools of this interpreter first, and no database but one that is named."""
    ours = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "FLOWCRAFT_DSN")}
    return {**ours, "PATH": f"{BIN}{os.pathsep}{ours['PATH']}", "PYTHONUNBUFFERED": "1", **more}


def run(folder: Path, *command: str, **more: str) -> str:
    """Run a command in a folder; return what it said."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
    return done.stdout


def texts(folder: Path) -> Mapping[str, bytes]:
    """Return every file that somebody may have written, by its path."""
    skipped = {"__pycache__", "node_modules", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".postgres"}
    found = (path for path in sorted(folder.rglob("*")) if not skipped & set(path.parts))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if path.is_file()}


@asynccontextmanager
async def running(folder: Path, *command: str, sign: str, **more: str) -> AsyncIterator[tuple[Process, str]]:
    """Run a service until the block ends; lend it with the line that has the sign."""
    service = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment(**more), stdout=PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said = ""
    try:
        assert service.stdout is not None
        while sign not in (line := (await service.stdout.readline()).decode()):
            said += line
            assert line, f"it ended without a word of {sign!r}:\n{said}"
        yield service, line
    finally:
        if service.returncode is None:
            service.send_signal(signal.SIGTERM)
        await service.communicate()


async def told(address: str, count: int = 1) -> AsyncGenerator[dict[str, object], None]:
    """Connect, yield nothing once it is known where the events begin, and then each payload."""
    async with connect(address) as page:
        while "subscribed" not in json.loads(await page.recv()):
            pass
        yield {}
        while count:
            frame = json.loads(await page.recv())
            if "payload" in frame:
                count -= 1
                yield frame["payload"]
