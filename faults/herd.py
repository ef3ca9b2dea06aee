"""A herd: thousands of probes in a process of their own, so that they slow only the server.

`python -m faults.herd` takes its orders as one line of JSON on standard input. It prints how many
seconds it took until all were live, waits for a line with a transaction, and writes its histories to a file.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import random
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from faults.histories import History
from faults.probe import Probe
from flowcraft.cursors import Cursor


class Herd:
    """The herd, from the harness's side."""

    def __init__(self, process: asyncio.subprocess.Process, file: Path) -> None:
        self._process = process
        self._file = file

    @classmethod
    @asynccontextmanager
    async def open(
        cls, address: str, *, count: int, lanes: int, since: Sequence[Cursor], seed: int, folder: Path
    ) -> AsyncIterator[Herd]:
        """Let it come, all at once."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "faults.herd"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        herd = cls(process, folder / "herd.pickle")
        orders = {
            "address": address,
            "count": count,
            "lanes": lanes,
            "since": [*map(str, since)],
            "seed": seed,
            "file": str(herd._file),
        }
        herd._send(json.dumps(orders))
        try:
            yield herd
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def until_live(self) -> float:
        """Wait until all are live; how long it took them."""
        return float(await self._line())

    async def settle(self, xid: int) -> tuple[list[History], int]:
        """Wait until they have had all up to a transaction: histories, and how many were never reset."""
        self._send(str(xid))
        resumed = int(await self._line())
        histories: list[History] = pickle.loads(self._file.read_bytes())
        return histories, resumed

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    async def _line(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode()


async def _come(orders: Mapping[str, Any]) -> None:
    since = [Cursor.parse(text) for text in orders["since"]]
    probes: list[Probe] = []
    histories: list[History] = []
    for number in range(orders["count"]):
        chance = random.Random(f"{orders['seed']} {number}")
        probes.append(Probe(orders["address"], name=f"herd {number}", random=chance))
        histories.append(
            probes[-1].subscribe(f"lanes.{number % orders['lanes']}", since[number % len(since)])
        )
    began = time.monotonic()
    for probe in probes:
        await probe.start()
    await asyncio.gather(*(probe.until_live() for probe in probes))
    print(time.monotonic() - began, flush=True)
    xid = int(await asyncio.to_thread(sys.stdin.readline))
    await asyncio.gather(*(probe.settled(xid) for probe in probes))
    await asyncio.to_thread(Path(orders["file"]).write_bytes, pickle.dumps(histories))
    print(sum(not probe.resets for probe in probes), flush=True)
    await asyncio.gather(*(probe.close() for probe in probes))


def main() -> None:
    """Come when the orders are there."""
    import uvloop

    uvloop.run(_come(json.loads(sys.stdin.readline())))


if __name__ == "__main__":
    main()
