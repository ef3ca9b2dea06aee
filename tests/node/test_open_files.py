"""Open files: a server takes as many as its clients need, and says so where it cannot have them."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from flowcraft.entrypoints.open_files import SPARE_FILES

APPLICATION = """
from flowcraft import Channels, Realtime, Settings
realtime = Realtime(Channels(), settings=Settings(connections=1000, drain_seconds=0.2))
"""
ON_LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells the limits of another process"
)


async def served(folder: Path, dsn: str, limits: str, *options: str) -> tuple[int, str]:
    """Serve under limits that a shell sets; return how many files it may open, and what it logged."""
    (folder / "live.py").write_text(APPLICATION)
    await migrate(dsn, Channels())
    command = f"ulimit {limits}; exec {Path(sys.executable).parent}/flowcraft serve live:realtime --port 0"
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", " ".join([command, *options])),
        cwd=folder,
        env={**os.environ, "FLOWCRAFT_DSN": dsn},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30)
    allowed = files_of(process.pid)
    process.terminate()
    _, log = await asyncio.wait_for(process.communicate(), 30)
    return allowed, log.decode()


def files_of(pid: int) -> int:
    told = Path(f"/proc/{pid}/limits").read_text()
    (soft,) = (line.split()[3] for line in told.splitlines() if line.startswith("Max open files"))
    return int(soft)


@ON_LINUX
@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["one process", "workers"])
async def test_a_server_may_open_a_file_for_each_client(
    tmp_path: Path, database: str, options: list[str]
) -> None:
    soft, log = await served(tmp_path, database, "-Sn 100", *options)
    assert (soft, "open files" in log) == (1000 + SPARE_FILES, False)


@ON_LINUX
async def test_a_hard_limit_below_the_clients_that_may_come_is_told(tmp_path: Path, database: str) -> None:
    soft, log = await served(tmp_path, database, "-n 500")
    assert soft == 500
    assert "connections=1000 needs 1200 open files, and 500 are allowed: raise the hard limit" in log
