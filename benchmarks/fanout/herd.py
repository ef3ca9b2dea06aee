"""A herd: thousands open one list of 1,000 rows at once, while others go on receiving events.

`python -m benchmarks.fanout.herd [--clients 10000] [--rows 1000] [--slow 200] [--json FILE]`
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import statistics
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.fanout.measure import Load, load_command, prepare, seconds_to_connect
from benchmarks.fanout.ours.herd_app import TABLES, channels
from benchmarks.fanout.ours.served import database, served
from benchmarks.machine import free_port, options, where, write
from flowcraft.adapters.postgres.schema import migrate

EXISTING, EVERY_SECONDS, QUIET_SECONDS = 20, 0.02, 2.0
BROADCAST = "select flowcraft.broadcast('bench_update', json_build_object('sent', $1::float8))"
ASK = '{"subscribe":["item_rows"],"rows":true,"ref":1}'
APP = "benchmarks.fanout.ours.herd_app:realtime"


async def main() -> int:
    """Measure one herd."""
    parser = options("benchmarks.fanout.herd", __doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--slow", type=int, default=200, help="more clients, which read nothing")
    given = parser.parse_args()
    prepare(given.clients + given.slow)
    async with database() as (dsn, connection):
        await connection.execute(TABLES)
        await connection.execute(
            "insert into items select n, repeat('x', 40) from generate_series(1, $1) n", given.rows
        )
        await migrate(connection, channels)
        figures = await _herd(dsn, connection, given.clients, given.slow)
    print("commit {commit}, {machine}".format_map(where()))
    print(
        f"{given.clients:,} clients open one list of {given.rows:,} rows, "
        f"and {given.slow:,} more read nothing of it"
    )
    for name, value in figures.items():
        print(f"{name}: {value:,.1f}" if isinstance(value, float) else f"{name}: {value:,}")
    if given.json:
        write(
            given.json, {"clients": given.clients, "rows": given.rows, "slow": given.slow, "figures": figures}
        )
    return 0


async def _herd(
    dsn: str, connection: asyncpg.Connection[asyncpg.Record], clients: int, slow: int
) -> dict[str, Any]:
    port = free_port()
    async with served(dsn, port, 1, app=APP) as pid, AsyncExitStack() as stack:
        existing = Existing()
        address = f"ws://127.0.0.1:{port}/realtime?channel=bench_update"
        for _ in range(EXISTING):
            existing.follow(await stack.enter_async_context(connect(address)))
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(_write(connection))
            await asyncio.sleep(QUIET_SECONDS)
            before, usual = _peak(pid), existing.take()
            unread = [await _unread(port) for _ in range(slow)]
            seconds = await _open_all(port, clients)
            during, peak = existing.take(), _peak(pid)
            reads = await _metric(port, "flowcraft_state_reads_total")
            states = await _metric(port, "flowcraft_states_total")
            for one in unread:
                one.close()
            writing.cancel()
            existing.stop()
    return {
        "queries for the rows": int(reads),
        "states sent": int(states),
        "seconds until all have the rows": seconds,
        "peak memory grown by, MiB": (peak - before) / 2**20,
        "existing clients, p99 before, ms": 1000 * _p99(usual),
        "existing clients, p99 during the herd, ms": 1000 * _p99(during),
        "existing clients, events during the herd": len(during),
    }


class Existing:
    """Clients that were there before: how late each event reaches each of them."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._tasks: list[asyncio.Task[None]] = []

    def follow(self, client: ClientConnection) -> None:
        """Measure the events of a client."""
        self._tasks.append(asyncio.create_task(self._measure(client)))

    async def _measure(self, client: ClientConnection) -> None:
        async for message in client:
            found = re.search(r'"sent" ?: ?([0-9.]+)', str(message))
            if found:
                self._late.append(time.time() - float(found[1]))

    def take(self) -> list[float]:
        """Return what was measured, and begin again."""
        late, self._late = self._late, []
        return late

    def stop(self) -> None:
        """Measure nothing more."""
        for task in self._tasks:
            task.cancel()


async def _write(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    try:
        while True:
            await connection.execute(BROADCAST, time.time())
            await asyncio.sleep(EVERY_SECONDS)
    except asyncio.CancelledError:
        return


async def _open_all(port: int, clients: int) -> float:
    command = load_command(port, 0, Load(clients, 0, 0), "/realtime", ASK, missed=1)
    return await seconds_to_connect(command)


async def _unread(port: int) -> socket.socket:
    """A client that asks for the rows, and reads nothing of them."""
    loop, small = asyncio.get_running_loop(), socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.setblocking(False)
    await loop.sock_connect(small, ("127.0.0.1", port))
    head = (
        f"GET /realtime HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await loop.sock_sendall(small, head.encode() + bytes([0x81, 0x80 | len(ASK)]) + bytes(4) + ASK.encode())
    return small


async def _metric(port: int, name: str) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    return sum(
        float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.]+)$", text, re.MULTILINE)
    )


def _peak(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def _p99(late: list[float]) -> float:
    return statistics.quantiles(late, n=100)[98]


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", "src")
    sys.exit(asyncio.run(main()))
