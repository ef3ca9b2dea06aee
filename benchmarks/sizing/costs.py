"""Costs: what single things cost here, as processor time, measured within about a minute on loopback."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg

from benchmarks.edges import TICKS, processor_seconds
from benchmarks.fanout.ours.dedicated import declared
from benchmarks.machine import ROOT, free_port
from benchmarks.sizing.model import Costs
from faults.broker import nats_server
from flowcraft.adapters.nats.messages import cut, decode_link, decode_part, encode_link
from flowcraft.adapters.postgres.embedded import EmbeddedPostgres
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.core.chain import Chain, Link
from flowcraft.core.hub import Hub
from flowcraft.cursors import Cursor, Lineage, Snapshot, marked
from flowcraft.records import Batch, Limit, Record
from flowcraft.testing.load_clients import LoadClients

CLIENTS, MESSAGES = 1_000, 150
FEW, MANY = 1, 100
"""Events of a batch: the difference is the cost of events, the rest that of the batch."""
BATCHES = 300
MESSAGE_BYTES, EDGES, PUBLISHED, UNREAD = 60_000, 8, 1_500, 40
COMMITS, EVENTS = 1_500, 20
PAYLOAD = '{"row":7,"pad":"' + "x" * 180 + '"}'
LINEAGE, AT = Lineage(1, 1, 0, 5), datetime(2026, 1, 1, tzinfo=UTC)
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


async def measure() -> Costs:
    """Measure everything once, one after another."""
    message, handshake, connection_bytes = await _clients()
    edge_event, edge_batch = _by_size(_edge_seconds)
    encoded_event, encoded_batch = _by_size(_encoding_seconds)
    broker_byte, publish = await _broker()
    commit, event, read, read_event = await _postgres()
    return Costs(
        message=message,
        handshake=handshake,
        connection_bytes=connection_bytes,
        edge_event=edge_event,
        edge_batch=edge_batch,
        relay_event=encoded_event + read_event,
        relay_batch=encoded_batch + publish,
        broker_byte=broker_byte,
        postgres_commit=commit,
        postgres_event=event,
        postgres_read=read,
    )


async def _clients() -> tuple[float, float, float]:
    """Messages to clients, handshakes, and the memory of a client, of a server whose log is in memory."""
    port, control = free_port(), free_port()
    command = [sys.executable, "-m", "benchmarks.fanout.ours.dedicated", str(port), str(control)]
    server = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        await server.stdout.readline()
        clients = LoadClients(f"ws://127.0.0.1:{port}/realtime?channel=bench_update")
        await clients.grow(CLIENTS // 4)  # whatever is made once
        spent, resident = _processor(server.pid), _resident(server.pid)
        await clients.grow(CLIENTS)
        handshake = (_processor(server.pid) - spent) / (CLIENTS * 3 / 4)
        grown = (_resident(server.pid) - resident) / (CLIENTS * 3 / 4)
        _, orders = await asyncio.open_connection("127.0.0.1", control)
        spent = _processor(server.pid)
        for _ in range(MESSAGES):
            complete = clients.expect(CLIENTS)
            orders.write(b"go 1\n")
            async with asyncio.timeout(20):
                await complete.wait()
        message = (_processor(server.pid) - spent) / (MESSAGES * CLIENTS)
        clients.close()
        orders.close()
    finally:
        server.kill()
        await server.wait()
    return message, handshake, max(0.0, grown)


def _links(events: int) -> list[Link]:
    links: list[Link] = []
    last, xid = Cursor(LINEAGE, Snapshot(1)), 1
    for _ in range(BATCHES):
        records = tuple(
            [Record(xid + n, xid + n, f"runs.{(xid + n) % 5_000}", PAYLOAD) for n in range(events)]
        )
        marks, xid = {record.xid: record.id + 7 for record in records}, xid + events
        cursor = Cursor(LINEAGE, Snapshot(xid), marked(xid - 1, xid + 6))
        links.append(Link(last, Batch(records, cursor, Snapshot(xid), AT, AT, (), marks)))
        last = cursor
    return links


def _by_size(seconds: Callable[[int], float]) -> tuple[float, float]:
    """Return what an event costs, and a batch beside its events."""
    few, many = (min(seconds(events) for _ in range(5)) / BATCHES for events in (FEW, MANY))
    event = (many - few) / (MANY - FEW)
    return event, max(0.0, few - event * FEW)


def _edge_seconds(events: int) -> float:
    messages = [next(cut(encode_link(link), "r", n)) for n, link in enumerate(_links(events))]
    start = Batch((), Cursor(LINEAGE, Snapshot(1)), Snapshot(1), AT)
    chain, hub = Chain(Limit(10**9)), Hub(start)
    chain.begin(start)
    began = time.process_time()
    for message in messages:
        chain.take(decode_link(decode_part(message).content))
        batch = chain.read(hub.cursor)
        assert batch is not None
        hub.broadcast(batch)
    return time.process_time() - began


def _encoding_seconds(events: int) -> float:
    links = _links(events)
    began = time.process_time()
    for number, link in enumerate(links):
        list(cut(encode_link(link), "r", number))
    return time.process_time() - began


async def _broker() -> tuple[float, float]:
    """What a byte costs a server of NATS, and a message the client that publishes it."""
    import nats

    with TemporaryDirectory() as folder, nats_server(Path(folder)) as server:
        publisher = await nats.connect(server.url)  # pyright: ignore[reportUnknownMemberType]
        began = time.process_time()
        for _ in range(PUBLISHED):
            await publisher.publish("nobody", b"x" * 1_000)
        await publisher.flush(20)
        publish = (time.process_time() - began) / PUBLISHED
        subscribers = [
            await nats.connect(server.url)  # pyright: ignore[reportUnknownMemberType]
            for _ in range(EDGES)
        ]
        received, arrived = 0, asyncio.Event()

        async def take(_: object) -> None:
            nonlocal received
            received += 1
            arrived.set()

        for subscriber in subscribers:
            await subscriber.subscribe(  # pyright: ignore[reportUnknownMemberType]
                "all", cb=take, pending_bytes_limit=2**33, pending_msgs_limit=10**7
            )
            await subscriber.flush(20)
        spent = _processor(server.pid)
        for number in range(PUBLISHED):
            await publisher.publish("all", b"x" * MESSAGE_BYTES)
            # The server cuts off clients for which much waits.
            unread = UNREAD if number < PUBLISHED - 1 else 0
            async with asyncio.timeout(20):
                while received < (number + 1 - unread) * EDGES:
                    await arrived.wait()
                    arrived.clear()
        byte = (_processor(server.pid) - spent) / (PUBLISHED * EDGES * MESSAGE_BYTES)
        for connection in (publisher, *subscribers):
            await connection.close()
    return byte, publish


async def _postgres() -> tuple[float, float, float, float]:
    """A commit, an event, a read for one event, in PostgreSQL; an event of a long read, in its reader."""
    server = await asyncio.to_thread(EmbeddedPostgres.start, None, port=0)
    try:
        connection = await asyncpg.connect(server.dsn, timeout=10)
        await migrate(connection, declared())
        log = PostgresLog(server.dsn)
        cursor = (await log.position()).cursor
        assert server.pid is not None
        taken: list[float] = []
        for events in (1, EVENTS):
            spent = processor_seconds(server.pid)
            for _ in range(COMMITS):
                await connection.execute(
                    "select flowcraft.broadcast('bench_update', $1) from generate_series(1, $2)",
                    *(PAYLOAD, events),
                )
            taken.append((processor_seconds(server.pid) - spent) / COMMITS)
        event = (taken[1] - taken[0]) / (EVENTS - 1)
        began = time.process_time()
        batch = await log.tail(cursor)
        read_event = (time.process_time() - began) / len(batch.records)
        cursor, spent = batch.cursor, processor_seconds(server.pid)
        for _ in range(COMMITS):
            cursor = (await log.tail(cursor)).cursor
        read = (processor_seconds(server.pid) - spent) / COMMITS
        await log.close()
        await connection.close(timeout=5)
    finally:
        await asyncio.to_thread(server.close)
    return max(0.0, taken[0] - event), event, read, read_event


def _processor(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1]) * PAGE_BYTES


def medians(found: list[Costs]) -> Costs:
    """Return the median of each cost."""
    names = Costs.__dataclass_fields__
    return Costs(**{name: statistics.median([getattr(one, name) for one in found]) for name in names})
