"""Edge channels: what an event costs an edge and a relay, by the events that one message has.

`python -m benchmarks.edge_channels [--rounds N] [--events N] [--json FILE]`. An edge receives every event, in
batches; no client wants any. With a subject for each channel it would receive only some, each in a message of
its own: so a message with one event is the price of that. Processor times, of one process each. It needs
nats-server.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.connection
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import options, where, write
from faults.broker import nats_server
from flowcraft.adapters.memory import MemoryLog
from flowcraft.adapters.nats.address import LogAddress
from flowcraft.adapters.nats.connection import Arrival, NatsConnection
from flowcraft.adapters.nats.messages import LIVE_BYTES, cut, decode_link, decode_part, encode_link
from flowcraft.core.chain import Chain, Link
from flowcraft.core.hub import Hub
from flowcraft.core.parts import Parts
from flowcraft.records import Batch, Limit

SIZES = (1, 10, 100)
CHANNELS = 1_000
PAYLOAD_BYTES = 200
SUBJECT = "flowcraft.1.1.live"


def main() -> None:
    """Measure each number of events per message in turn."""
    parser = options("benchmarks.edge_channels", __doc__)
    parser.add_argument("--events", type=int, default=20_000)
    chosen = parser.parse_args()
    place = where()
    print(f"{place['machine']}; commit {place['commit']}; medians of {chosen.rounds}; {chosen.events} events")
    found: dict[int, list[tuple[float, float]]] = {size: [] for size in SIZES}
    with tempfile.TemporaryDirectory() as folder, nats_server(Path(folder)) as server:
        for _ in range(chosen.rounds):
            for size, runs in found.items():
                runs.append(asyncio.run(_measure(server.url, chosen.events, size)))
    rows: list[dict[str, float]] = []
    for size, runs in found.items():
        edge, relay = (statistics.median(times) for times in zip(*runs, strict=True))
        rows.append({"events_per_message": size, "edge_us": edge, "relay_us": relay})
        share = edge / rows[0]["edge_us"]
        print(f"{size:>4} events a message: edge {edge:6.1f} us, relay {relay:6.1f} us an event; {share:.0%}")
    if chosen.json:
        write(chosen.json, {"events": chosen.events, "rows": rows})


async def _links(events: int, size: int) -> tuple[Batch, list[Link]]:
    """Return a position, and as many events after it as links of that size."""
    log, number = MemoryLog(capacity=2 * max(SIZES)), 0
    start = position = await log.position()
    links: list[Link] = []
    for _ in range(events // size):
        transaction = log.begin()
        for _ in range(size):
            number += 1
            text = f'{{"type":"Step","step":{number},"note":"{"x" * PAYLOAD_BYTES}"}}'
            transaction.broadcast(f"runs.{number % CHANNELS}", text)
        transaction.commit()
        batch = await log.tail(position.cursor)
        links.append(Link(position.cursor, batch))
        position = batch
    return start, links


async def _measure(url: str, events: int, size: int) -> tuple[float, float]:
    """Return the microseconds of an edge and of a relay for one event."""
    start, links = await _links(events, size)
    chain, hub, parts = Chain(Limit(10**9)), Hub(start), Parts(LIVE_BYTES)
    chain.begin(start)
    received = 0
    done = asyncio.Event()

    def take(arrival: Arrival) -> None:
        nonlocal received
        content = parts.take(decode_part(arrival.data))
        assert content is not None
        chain.take(decode_link(content))
        batch = chain.read(hub.cursor)
        assert batch is not None
        hub.broadcast(batch)
        received += len(batch.records)
        if received == events:
            done.set()

    async with NatsConnection.open(LogAddress.parse(url), "edge") as connection:
        await connection.subscribe(SUBJECT, take)
        spawning = multiprocessing.get_context("spawn")
        ours, theirs = spawning.Pipe()
        relay = spawning.Process(target=_publish_all, args=(url, links, theirs))
        relay.start()
        try:
            await asyncio.to_thread(ours.recv)  # it has started
            began = time.process_time()
            ours.send(None)
            async with asyncio.timeout(60):
                await done.wait()
            spent = time.process_time() - began
            published: float = await asyncio.to_thread(ours.recv)
        finally:
            relay.join(10)
            relay.kill()
    return 1e6 * spent / events, 1e6 * published / events


def _publish_all(url: str, links: Sequence[Link], pipe: multiprocessing.connection.Connection) -> None:
    pipe.send(asyncio.run(_publish(url, links, pipe)))


async def _publish(url: str, links: Sequence[Link], pipe: multiprocessing.connection.Connection) -> float:
    """Publish as a relay does, and return the processor seconds that took."""
    async with NatsConnection.open(LogAddress.parse(url), "relay") as connection:
        pipe.send(None)
        pipe.recv()
        began = time.process_time()
        for number, link in enumerate(links):
            for part in cut(encode_link(link), "relay", number):
                await connection.publish(SUBJECT, part)
            if number % 10 == 0:
                await asyncio.sleep(0)
        return time.process_time() - began


if __name__ == "__main__":
    main()
