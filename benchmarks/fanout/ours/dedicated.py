"""Ours: log, relay, hub and the dedicated server, as they are; only the log is in memory."""

from __future__ import annotations

import uvloop

from benchmarks.fanout.control import MESSAGE_BYTES, obey, ports
from flowcraft import Channels, Event, Settings
from flowcraft.adapters.memory import MemoryLog, MemoryWakeups
from flowcraft.entrypoints.serve import Server
from flowcraft.runtime.clock import SystemClock
from flowcraft.runtime.node import Node

HEAD = '{"row":7,"version":1,"pad":"'
FRAME = len('{"channel":"bench_update","payload":,"id":1000000}')
PAYLOAD = HEAD + "x" * (MESSAGE_BYTES - FRAME - len(HEAD) - 2) + '"}'


class BenchUpdate(Event):
    """What is sent."""

    row: int
    version: int
    pad: str


def declared() -> Channels:
    """The one channel."""
    channels = Channels()
    channels.declare("bench_update", BenchUpdate)
    return channels


async def running_node(log: MemoryLog) -> Node:
    """A node without limits that a benchmark would meet, which takes connections."""
    settings = Settings(
        any_origin=True,
        connections=1_000_000,
        connections_per_address=1_000_000,
        heartbeat_seconds=600,
    )
    wakeups, clock = MemoryWakeups(log), SystemClock()
    node = Node(declared(), log, wakeups, settings=settings, authorizer=None, clock=clock)
    node.start()
    await node.until_accepting()
    return node


def commit(log: MemoryLog, count: int) -> None:
    """One transaction with so many events."""
    transaction = log.begin()
    for _ in range(count):
        transaction.broadcast("bench_update", PAYLOAD)
    log.trim(before=transaction.xid)
    transaction.commit()


async def main() -> None:
    """Serve until the orders end."""
    port, control = ports()
    log = MemoryLog()
    node = await running_node(log)
    server = Server(node, "127.0.0.1", port)
    await server.start()
    await obey(control, lambda count: commit(log, count))


if __name__ == "__main__":
    uvloop.run(main())
