"""A cluster of NATS: a member dies, and relay and edges go on at another one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from flowcraft.settings import Settings
from tests.support.edges import (
    Following,
    address_of,
    edge,
    memory_backend,
    numbers,
    relay,
    until_it_is,
    with_stream,
    written,
)
from tests.support.nats import NatsServer, nats_cluster

pytestmark = [pytest.mark.world, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[NatsServer]]:
    with nats_cluster(tmp_path_factory.mktemp("cluster")) as members:
        yield members


@pytest.mark.parametrize("stream", [False, True], ids=["core", "JetStream"])
async def test_no_event_is_lost_while_each_member_of_a_cluster_dies(
    cluster: list[NatsServer], stream: bool
) -> None:
    backend = memory_backend()
    ports = ",".join([f"127.0.0.1:{member.port}" for member in cluster])
    url = with_stream(f"nats://{ports}", replicas=3) if stream else f"nats://{ports}"
    settings = Settings(safety_poll_seconds=60)  # it asks only where it must
    count = 0

    async def write(seconds: float) -> None:
        nonlocal count
        async with asyncio.timeout(seconds + 5):
            end = asyncio.get_running_loop().time() + seconds
            while asyncio.get_running_loop().time() < end:
                count += 1
                written(backend.log, count, count)
                await asyncio.sleep(0.01)

    async with relay(url, backend) as leading:
        theirs = address_of(url, backend.log.lineage)
        async with (
            edge(theirs, settings=settings) as one,
            edge(theirs, settings=settings) as other,
            Following.on(one) as first,
            Following.on(other) as second,
        ):
            for member in cluster:
                await write(0.3)
                await asyncio.to_thread(member.end)
                await write(0.5)
                for following in (first, second):
                    assert await following.until(count) == numbers(1, count)
                await asyncio.to_thread(member.start)
                await write(0.3)
            for following in (first, second):
                assert await following.until(count) == numbers(1, count)
            if stream:
                await until_it_is(lambda: leading.report().stream)
                asked = [parts.edge.gaps for parts in (one, other)]
                await write(0.3)
                await first.until(count)
                assert [parts.edge.gaps for parts in (one, other)] == asked
        assert leading.state == "leading"
