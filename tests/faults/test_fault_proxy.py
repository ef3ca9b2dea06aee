"""The fault proxy: what it does to a connection is what the fault it is named after does, and it heals."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop

from faults.proxy import FaultProxy
from tests.support.proxied import Clients, Peer, Stage, closed, connect_straight, serving, staged


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
async def test_without_a_fault_everything_passes_both_ways(tmp_path: Path, unix: bool) -> None:
    async with staged(tmp_path / "socket" if unix else None) as stage:
        client, server = await stage.pair()
        await client.send(b"a question")
        assert await server.receive(10) == b"a question"
        server.writer.write(b"an answer")
        server.writer.write_eof()
        assert await client.receive(9) == b"an answer"
        assert await client.ending() == "eof"
        await client.send(b"the other way is open")
        assert await server.receive(21) == b"the other way is open"


async def test_both_sides_gone_leave_nothing_behind() -> None:
    async with staged() as stage:
        client, server = await stage.pair()
        link = stage.proxy.links[0]
        await closed(client)
        assert await server.ending() == "eof"
        await closed(server)
        await settle(lambda: link not in stage.proxy.links)
        assert (stage.proxy.connections, stage.proxy.total_accepted) == (0, 1)


async def settle(condition: Callable[[], object]) -> None:
    """Give the loop its turns until something holds that needs nothing but these."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # the sockets of this very loop change it
            await asyncio.sleep(0)


async def test_clients_that_are_cut_while_a_server_is_found_leave_nothing_behind() -> None:
    async with staged() as stage:
        for _ in range(100):
            await asyncio.gather(stage.connect(), stage.connect())
            stage.proxy.reset()
        await settle(lambda: stage.proxy.connections == 0)


async def test_latency_delays_each_piece_and_keeps_the_order() -> None:
    async with staged() as stage:
        client, server = await stage.pair()
        # Ten pieces that waited one after the other would take longer than `receive` waits.
        stage.proxy.latency_seconds = 1.5
        started = time.monotonic()
        for n in range(10):
            await client.send(bytes([n]))
            await settle(partial(holds, stage, n + 1))
        assert await server.receive(10) == bytes(range(10))
        assert time.monotonic() - started > 1.4
        await server.send(b"x")
        await client.receive(1)
        assert time.monotonic() - started > 2.9


def holds(stage: Stage, count: int) -> bool:
    return held(stage) == count


def held(stage: Stage) -> int:
    return sum(link.up.waiting + link.down.waiting for link in stage.proxy.links)


async def test_what_travels_arrives_at_once_when_the_proxy_heals() -> None:
    async with staged() as stage:
        client, server = await stage.pair()
        stage.proxy.latency_seconds = 3600
        await client.send(b"slow")
        await settle(lambda: held(stage) == 4)
        stage.proxy.heal()
        assert await server.receive(4) == b"slow"


async def test_a_rate_holds_back_what_goes_down_and_nothing_that_goes_up() -> None:
    async with staged() as stage:
        client, server = await stage.pair()
        stage.proxy.bytes_per_second = 40_000
        started = time.monotonic()
        await server.send(bytes(20_000))
        await client.send(bytes(200_000))
        await server.receive(200_000)
        assert held(stage) > 0
        await client.receive(20_000)
        assert time.monotonic() - started > 0.35
        # At that rate these would take longer than `receive` waits.
        server.writer.write(bytes(1_000_000))
        stage.proxy.bytes_per_second = None
        await client.receive(1_000_000)


async def test_one_link_can_be_slow_alone() -> None:
    async with staged() as stage:
        (slow, to_slow), (quick, to_quick) = await stage.pair(), await stage.pair()
        link = stage.proxy.links[0]
        link.bytes_per_second = 1000
        await to_slow.send(bytes(5000))
        await to_quick.send(bytes(5000))
        await quick.receive(5000)
        assert link.down.waiting > 4000
        link.heal()
        await slow.receive(5000)


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_black_hole_withholds_one_direction_until_it_heals(direction: str) -> None:
    async with staged() as stage:
        client, server = await stage.pair()
        stage.proxy.black_hole("up" if direction == "up" else "down")
        lost, kept = (client, server) if direction == "up" else (server, client)
        await lost.send(b"one")
        await kept.send(b"passes")
        assert await lost.receive(6) == b"passes"
        await settle(lambda: held(stage) == 3)
        lost.writer.write_eof()
        await lost_in(stage)
        stage.proxy.heal()
        assert await kept.receive(3) == b"one"
        assert await kept.ending() == "eof"


async def lost_in(stage: Stage) -> None:
    """Wait until the end of a stream is stuck in the proxy."""
    await settle(lambda: any(link.up.items + link.down.items == 2 for link in stage.proxy.links))


async def test_in_a_black_hole_not_even_a_death_is_heard_of() -> None:
    async with staged() as stage:
        client, server = await stage.pair()
        stage.proxy.black_hole()
        client.writer.transport.abort()
        await settle(lambda: stage.proxy.links[0].up.items)
        other = await stage.connect()
        await other.send(b"late")
        await settle(lambda: held(stage) == 4)
        direct = await connect_straight(stage.service)
        assert (await stage.service.next()).name == direct.own_name
        await closed(direct)
        assert stage.proxy.connections == 2
        assert not server.reader.at_eof()
        stage.proxy.heal()
        assert await server.ending() in {"eof", "reset"}
        to_other = await stage.service.next()
        assert await to_other.receive(4) == b"late"


async def test_one_link_can_be_black_holed_alone() -> None:
    async with staged() as stage:
        (silent, to_silent), (open_, to_open) = await stage.pair(), await stage.pair()
        stage.proxy.links[0].black_hole()
        await silent.send(b"lost")
        await open_.send(b"heard")
        assert await to_open.receive(5) == b"heard"
        await settle(lambda: held(stage) == 4)
        stage.proxy.links[0].heal()
        assert await to_silent.receive(4) == b"lost"


async def test_a_reset_hits_both_sides_of_as_many_as_are_named() -> None:
    async with staged() as stage:
        pairs = [await stage.pair() for _ in range(5)]
        assert stage.proxy.reset(2) == 2
        await settle(lambda: stage.proxy.connections == 3)
        assert stage.proxy.reset() == 3
        for client, server in pairs:
            assert (await client.ending(), await server.ending()) == ("reset", "reset")
        assert stage.proxy.reset() == 0


async def test_a_reset_of_one_side_reaches_the_other() -> None:
    async with staged() as stage:
        client, server = await stage.pair()
        await server.send(b"unread")
        await settle(lambda: client.reader.at_eof() or len(buffered(client)) == 6)
        raw = client.writer.get_extra_info("socket")
        raw.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER
        client.writer.transport.abort()
        assert await server.ending() == "reset"


async def test_what_was_sent_before_the_end_arrives_although_the_sender_is_gone() -> None:
    async with staged() as stage:
        client, server = await stage.pair()
        reading(client).pause_reading()
        (link,) = stage.proxy.links
        sent = await filled(server, lambda: link.client.unsent)
        client.writer.write_eof()
        server.writer.write_eof()
        await closed(server)
        await settle(lambda: link.server.transport is None)
        reading(client).resume_reading()
        await client.receive(sent)
        assert await client.ending() == "eof"


async def test_a_reset_overtakes_what_nobody_reads() -> None:
    async with staged() as stage:
        client, server = await stage.pair()
        reading(server).pause_reading()
        (link,) = stage.proxy.links
        await filled(client, lambda: link.up.waiting)
        raw = client.writer.get_extra_info("socket")
        raw.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER
        client.writer.transport.abort()
        await settle(lambda: stage.proxy.connections == 0)


def reading(peer: Peer) -> asyncio.Transport:
    return cast(asyncio.Transport, peer.writer.transport)  # uvloop's is one by its methods only


async def filled(peer: Peer, backlog: Callable[[], int]) -> int:
    """Send until something waits in the proxy; return how much was sent."""
    sent = 0
    while not backlog():
        await peer.send(bytes(16384))
        sent += 16384
        for _ in range(20):
            await asyncio.sleep(0)
    return sent


def buffered(peer: Peer) -> bytes:
    return bytes(getattr(peer.reader, "_buffer"))  # noqa: B009  # untyped, and there is no other way to look


async def test_refused_connections_are_reset_until_it_heals() -> None:
    async with staged() as stage:
        stage.proxy.refuse()
        assert await (await stage.connect()).ending() == "reset"
        assert (stage.proxy.connections, stage.proxy.accepted_at) == (0, [])
        stage.proxy.heal()
        client, server = await stage.pair()
        await client.send(b"x")
        assert await server.receive(1) == b"x"
        assert 0 <= time.monotonic() - stage.proxy.accepted_at[0] < 10


async def test_connections_take_the_servers_in_turn_and_fall_through_those_that_refuse(
    tmp_path: Path,
) -> None:
    async with serving() as one, serving() as two:
        dead = str(tmp_path / "nobody")
        async with FaultProxy.open([one.address, dead, two.address]) as proxy:
            clients = Clients(proxy)
            for service in (one, two, two, one):
                await clients.connect()
                await service.next()
            proxy.upstreams = [two.address]
            await clients.connect()
            await two.next()
            proxy.upstreams = [dead]
            assert await (await clients.connect()).ending() == "reset"
            for peer in clients.peers:
                await closed(peer)


async def test_who_does_not_read_is_not_written_to_for_ever() -> None:
    async with staged() as stage:
        client, server = await stage.pair()
        reading(client).pause_reading()
        piece, written = bytes(range(256)) * 256, 0
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                while written < 64 * 1024 * 1024:
                    await server.send(piece)
                    written += len(piece)
        assert len(piece) < written < 8 * 1024 * 1024
        reading(client).resume_reading()
        for _ in range(written // len(piece)):
            assert await client.receive(len(piece)) == piece


async def test_a_thousand_connections_and_many_megabytes_pass() -> None:
    async with staged() as stage:
        await asyncio.gather(*(stage.pair() for _ in range(1000)))
        client, server = await stage.pair()
        started = time.process_time()
        sending = asyncio.create_task(server.send(bytes(40_000_000)))
        await client.receive(40_000_000)
        await sending
        assert time.process_time() - started < 4  # on both ends and between, so ten a second
        assert stage.proxy.reset() == 1001
        await settle(lambda: stage.proxy.connections == 0)


@pytest.mark.parametrize(
    "test",
    [
        test_both_sides_gone_leave_nothing_behind,
        test_clients_that_are_cut_while_a_server_is_found_leave_nothing_behind,
        test_latency_delays_each_piece_and_keeps_the_order,
        test_a_rate_holds_back_what_goes_down_and_nothing_that_goes_up,
        test_in_a_black_hole_not_even_a_death_is_heard_of,
        test_a_reset_hits_both_sides_of_as_many_as_are_named,
        test_refused_connections_are_reset_until_it_heals,
        test_who_does_not_read_is_not_written_to_for_ever,
        test_a_thousand_connections_and_many_megabytes_pass,
    ],
)
def test_on_uvloop_it_is_the_same(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    uvloop.run(test())
