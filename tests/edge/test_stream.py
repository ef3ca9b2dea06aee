"""A stream of JetStream: edges read there what they missed, and one that lies costs a question, no event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from faults.nats_proxy import WithoutMessages
from faults.proxy import FaultProxy
from flowcraft.adapters.memory import MemoryBackend
from flowcraft.adapters.nats.address import LogAddress, StreamOptions
from flowcraft.adapters.nats.bridge import BRIDGED_MESSAGES
from flowcraft.adapters.nats.connection import NatsConnection
from flowcraft.adapters.nats.messages import Subjects, decode_part
from flowcraft.adapters.nats.stream import LiveStream, misfits
from flowcraft.channels import Channels
from flowcraft.entrypoints.relaying import RelayServer
from flowcraft.errors import LogUnavailable
from flowcraft.settings import Settings
from tests.support.edges import (
    Following,
    address_of,
    edge,
    fresh_lineage,
    memory_backend,
    numbers,
    relay,
    running,
    until_it_is,
    with_stream,
    written,
)
from tests.support.nats import JETSTREAM, NatsServer, nats_server

SECONDS = 10.0
PATIENT = Settings(safety_poll_seconds=60)
"""A reader that asks only where it must."""


@asynccontextmanager
async def jetstream_of(server: NatsServer) -> AsyncIterator[JetStreamContext]:
    client = Client()
    await client.connect(server.url)
    try:
        yield client.jetstream()  # pyright: ignore[reportUnknownMemberType]
    finally:
        await client.close()


@asynccontextmanager
async def behind_a_proxy(
    server: NatsServer, backend: MemoryBackend, **options: object
) -> AsyncIterator[tuple[RelayServer, Following, FaultProxy, WithoutMessages]]:
    """A relay, and an edge whose line can be cut and lose messages."""
    url = with_stream(server.url, **options)
    lost = WithoutMessages(".live")
    async with FaultProxy.open(("127.0.0.1", server.port), transform_down=lost) as way:
        theirs = address_of(url.replace(str(server.port), str(way.port), 1), backend.log.lineage)
        async with (
            relay(url, backend) as leading,
            edge(theirs, settings=PATIENT) as parts,
            Following.on(parts) as following,
        ):
            written(backend.log, 1, 1)
            assert await following.until(1) == numbers(1, 1)
            yield leading, following, way, lost


async def stored(leading: RelayServer, count: int) -> None:
    async with asyncio.timeout(SECONDS):
        while leading.report().published < count:  # noqa: ASYNC110  # it has no event
            await asyncio.sleep(0.01)


# what an edge missed


async def test_a_lost_batch_is_read_from_the_stream_and_no_relay_is_asked(shared_nats: NatsServer) -> None:
    backend = memory_backend()
    async with behind_a_proxy(shared_nats, backend) as (_, following, _, lost):
        asked = following.parts.edge.asked
        lost.every = 1
        written(backend.log, 2, 2)
        await until_it_is(lambda: lost.dropped == 1)
        lost.every = 0
        written(backend.log, 3, 3)
        assert await following.until(3) == numbers(1, 3)
        assert following.parts.edge.asked == asked
        assert following.parts.edge.report().bridged == 1


async def test_a_lost_last_batch_is_found_by_a_beat_and_read_from_the_stream(shared_nats: NatsServer) -> None:
    backend = memory_backend()
    async with behind_a_proxy(shared_nats, backend) as (_, following, _, lost):
        asked = following.parts.edge.asked
        lost.every = 1
        written(backend.log, 2, 2)
        assert await following.until(2) == numbers(1, 2)
        assert (lost.dropped, following.parts.edge.asked) == (1, asked)


async def test_a_lost_part_of_a_long_batch_is_read_from_the_stream(shared_nats: NatsServer) -> None:
    backend = memory_backend()
    async with behind_a_proxy(shared_nats, backend) as (_, following, _, lost):
        asked = following.parts.edge.asked
        lost.every = 2
        transaction = backend.log.begin()
        payloads = [f'"{number}{"x" * 200_000}"' for number in range(10)]
        for payload in payloads:
            transaction.broadcast("runs.1", payload)
        transaction.commit()
        assert (await following.until(11))[1:] == payloads
        assert lost.dropped > 0
        assert following.parts.edge.asked == asked


async def test_what_was_missed_during_a_cut_is_read_from_the_stream(shared_nats: NatsServer) -> None:
    backend = memory_backend()
    async with behind_a_proxy(shared_nats, backend) as (leading, following, way, _):
        asked = following.parts.edge.asked
        way.refuse()
        way.reset()
        written(backend.log, 2, 5)
        await stored(leading, 2)
        way.refuse(False)
        assert await following.until(5) == numbers(1, 5)
        assert following.parts.edge.asked == asked


async def test_an_edge_that_missed_more_than_it_may_read_asks(shared_nats: NatsServer) -> None:
    backend = memory_backend()
    last = BRIDGED_MESSAGES + 2
    async with behind_a_proxy(shared_nats, backend) as (leading, following, way, _):
        asked = following.parts.edge.asked
        way.refuse()
        way.reset()
        for number in range(2, last + 1):
            written(backend.log, number, number)
            await stored(leading, number)
        way.refuse(False)
        assert await following.until(last) == numbers(1, last)
        assert following.parts.edge.asked > asked


# a stream that is not what it was


@pytest.mark.parametrize("how", ["purged", "deleted"])
async def test_a_stream_that_is_emptied_costs_no_event(shared_nats: NatsServer, how: str) -> None:
    backend = memory_backend()
    async with (
        behind_a_proxy(shared_nats, backend) as (leading, following, way, _),
        jetstream_of(shared_nats) as jetstream,
    ):
        name = await jetstream.find_stream_name_by_subject(Subjects.of(backend.log.lineage).live)
        written(backend.log, 2, 9)
        await following.until(9)
        way.refuse()
        way.reset()
        written(backend.log, 10, 10)
        await stored(leading, 3)
        await (jetstream.purge_stream(name) if how == "purged" else jetstream.delete_stream(name))
        written(backend.log, 11, 11)
        await stored(leading, 4)
        way.refuse(False)
        assert await following.until(11) == numbers(1, 11)
        await until_it_is(lambda: leading.report().stream)
        written(backend.log, 12, 12)
        assert await following.until(12) == numbers(1, 12)
        assert (await jetstream.stream_info(name)).state.messages > 0


async def test_a_stream_in_memory_is_created_again_after_a_restart(nats: NatsServer) -> None:
    backend = memory_backend()
    url = with_stream(nats.url)
    async with (
        relay(url, backend),
        edge(address_of(url, backend.log.lineage)) as parts,
        Following.on(parts) as following,
    ):
        written(backend.log, 1, 3)
        await following.until(3)
        nats.end()
        written(backend.log, 4, 5)
        nats.start()
        assert await following.until(5) == numbers(1, 5)
        written(backend.log, 6, 6)
        assert await following.until(6) == numbers(1, 6)
    async with jetstream_of(nats) as jetstream:
        assert [info.state.messages > 0 for info in await jetstream.streams_info()] == [True]


async def test_a_stream_that_was_rolled_back_costs_no_event(nats: NatsServer) -> None:
    """The files of an earlier moment: numbers are given twice, to other messages."""
    backend = memory_backend()
    url = with_stream(nats.url, storage="file")
    async with (
        relay(url, backend),
        edge(address_of(url, backend.log.lineage)) as parts,
        Following.on(parts) as following,
    ):
        for number in range(1, 4):
            written(backend.log, number, number)
            await following.until(number)
        nats.end()
        earlier = nats.keep("store")
        nats.start()
        for number in range(4, 8):
            written(backend.log, number, number)
            await following.until(number)
        nats.end()
        nats.restore("store", earlier)
        written(backend.log, 8, 9)
        nats.start()
        for number in range(10, 13):
            written(backend.log, number, number)
            assert await following.until(number) == numbers(1, number)


async def test_a_stream_with_other_messages_under_its_numbers_costs_no_event(shared_nats: NatsServer) -> None:
    """The edge reads what the stream has, and finds by the next beat that this was not what it missed."""
    backend = memory_backend()
    async with (
        behind_a_proxy(shared_nats, backend) as (leading, following, way, lost),
        jetstream_of(shared_nats) as jetstream,
    ):
        subject = Subjects.of(backend.log.lineage).live
        name = await jetstream.find_stream_name_by_subject(subject)
        lost.every = 1
        way.refuse()
        way.reset()
        written(backend.log, 2, 2)
        await stored(leading, 2)
        config = (await jetstream.stream_info(name)).config
        await jetstream.delete_stream(name)
        await jetstream.add_stream(config)  # pyright: ignore[reportUnknownMemberType]
        for _ in range(3):
            await jetstream.publish(subject, b'{"v":1,"relay":"x","message":1,"part":0,"last":true}\n{}')
        way.refuse(False)
        assert await following.until(2) == numbers(1, 2)


# the fence


async def stored_parts(connection: NatsConnection, stream: str, count: int) -> list[tuple[str, bytes, int]]:
    jetstream = connection.jetstream(5)
    found = [await jetstream.get_msg(stream, number) for number in range(1, count + 1)]
    parts = [decode_part(message.data or b"") for message in found]
    return [(part.sender, part.content, part.sequence) for part in parts]


async def test_what_was_read_before_another_relay_published_is_not_stored(shared_nats: NatsServer) -> None:
    lineage = fresh_lineage()
    options = LogAddress.parse(with_stream(shared_nats.url)).stream
    assert options is not None
    address, subjects = LogAddress.parse(shared_nats.url), Subjects.of(lineage)
    async with NatsConnection.open(address, "one") as one, NatsConnection.open(address, "other") as other:
        stale = LiveStream(one, subjects, options)
        await stale.open()
        leading = LiveStream(other, subjects, options)
        await leading.open()
        await stale.publish(b"1", "stale", 1)
        await leading.publish(b"1", "leading", 1)  # rejected: the other one was first
        for number in (2, 3, 4):
            await leading.publish(b"%d" % number, "leading", number)
        await stale.publish(b"2", "stale", 2)
        await stale.publish(b"3", "stale", 3)
        assert (leading.rejected, stale.rejected) == (1, 1)
        assert await stored_parts(one, options.name, 5) == [
            ("stale", b"1", 1),
            ("leading", b"2", 2),
            ("leading", b"3", 3),
            ("leading", b"4", 4),
            ("stale", b"3", 5),
        ]


async def test_what_an_emptied_stream_rejects_is_published_once_more(shared_nats: NatsServer) -> None:
    options = LogAddress.parse(with_stream(shared_nats.url)).stream
    assert options is not None
    subjects = Subjects.of(fresh_lineage())
    async with (
        NatsConnection.open(LogAddress.parse(shared_nats.url), "relay") as connection,
        jetstream_of(shared_nats) as jetstream,
    ):
        stream = LiveStream(connection, subjects, options)
        await stream.open()
        await stream.publish(b"1", "relay", 1)
        await stream.publish(b"2", "relay", 2)
        await jetstream.delete_stream(options.name)
        await LiveStream(connection, subjects, options).open()
        await stream.publish(b"3", "relay", 3)
        assert (stream.rejected, stream.is_stored) == (1, True)
        assert await stored_parts(connection, options.name, 1) == [("relay", b"3", 1)]


async def test_without_an_acknowledgement_nothing_waits_for_the_stream(shared_nats: NatsServer) -> None:
    """Another subscriber takes the messages, and the stream is gone."""
    backend = memory_backend()
    url = with_stream(shared_nats.url)
    name = LogAddress.parse(url).stream
    assert name is not None
    async with (
        jetstream_of(shared_nats) as jetstream,
        NatsConnection.open(LogAddress.parse(shared_nats.url), "relay") as connection,
    ):
        subjects = Subjects.of(backend.log.lineage)
        stream = LiveStream(connection, subjects, name)
        await stream.open()
        received: list[bytes] = []
        await connection.subscribe(subjects.live, lambda arrival: received.append(arrival.data))
        await jetstream.delete_stream(name.name)
        for number in range(10):
            await stream.publish(b"%d" % number, "relay", number)
        assert not stream.is_stored
        async with running(stream.watch):
            await until_it_is(lambda: stream.is_stored)
        await stream.publish(b"10", "relay", 10)
        assert [decode_part(data).content for data in received] == [b"%d" % number for number in range(11)]
        assert (await jetstream.stream_info(name.name)).state.messages == 1


# settings


def test_the_options_of_a_stream_are_in_the_address() -> None:
    address = LogAddress.parse(
        "nats://a,b/7301.5?stream=shop&storage=file&seconds=60&bytes=9000000&replicas=3"
    )
    assert address.stream == StreamOptions("shop", "file", 60.0, 9_000_000, 3)
    assert LogAddress.parse("nats://a?stream=shop").stream == StreamOptions("shop")


@pytest.mark.parametrize(
    "query",
    ["stream=", "stream=a.b", "storage=file", "stream=a&storage=disk", "stream=a&age=1", "stream=a&bytes=x"],
)
def test_an_option_that_can_never_work_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match="after the"):
        LogAddress.parse(f"nats://a:4222?{query}")


FITTING = StreamConfig(
    name="s", subjects=["flowcraft.1.1.live"], retention=RetentionPolicy.LIMITS, allow_direct=True
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"subjects": ["flowcraft.>"]}, "flowcraft.1.1.live alone"),
        ({"discard": DiscardPolicy.NEW}, "not limits and old"),
        ({"retention": RetentionPolicy.INTEREST}, "not limits and old"),
        ({"no_ack": True}, "no_ack"),
        ({"allow_direct": False}, "--allow-direct"),
        ({"max_age": 1.0}, "max_age is 1; 5 or more"),
        ({"max_bytes": 1024}, "max_bytes is 1024"),
        ({"max_msg_size": 1024}, "max_msg_size"),
        ({"max_msgs_per_subject": 1}, "max_msgs_per_subject is 1; 64 or more"),
    ],
)
def test_a_stream_that_does_not_fit_is_refused_with_the_reason(
    changes: dict[str, object], words: str
) -> None:
    assert list(misfits(FITTING, "flowcraft.1.1.live")) == []
    changed = FITTING.evolve(**changes)  # pyright: ignore[reportUnknownMemberType]
    (line,) = misfits(changed, "flowcraft.1.1.live")
    assert words in line


async def fails_with(url: str, *words: str) -> None:
    server = RelayServer(Channels(), memory_backend(), LogAddress.parse(url), first_seconds=0.01)
    with pytest.raises(LogUnavailable) as found:
        await asyncio.wait_for(server.run(), SECONDS)
    assert all(word in str(found.value) for word in words), found.value
    assert "\n" not in str(found.value)


async def test_a_relay_refuses_a_stream_of_another_kind(shared_nats: NatsServer) -> None:
    url = with_stream(shared_nats.url)
    options = LogAddress.parse(url).stream
    assert options is not None
    async with jetstream_of(shared_nats) as jetstream:
        config = StreamConfig(
            name=options.name, subjects=[f"{options.name}.>"], max_bytes=1024, storage=StorageType.MEMORY
        )
        await jetstream.add_stream(config)  # pyright: ignore[reportUnknownMemberType]
    await fails_with(url, options.name, "does not fit", f"{options.name}.>")


@pytest.mark.parametrize(
    "config", ["", f"{JETSTREAM}\naccounts {{ A: {{ users: [{{ user: a, password: b }}] }} }}"]
)
async def test_a_relay_needs_jetstream_for_a_stream(tmp_path: Path, config: str) -> None:
    with nats_server(tmp_path, config) as without:
        url = with_stream(without.url.replace("nats://", "nats://a:b@"))
        await fails_with(url, "has no JetStream", "-js", "?stream=")


async def test_a_stream_that_is_too_large_for_the_server_is_one_line(shared_nats: NatsServer) -> None:
    await fails_with(with_stream(shared_nats.url, bytes=2**45), "cannot be created", "memory")


async def test_an_edge_with_a_stream_that_its_relay_lacks_asks_as_without(shared_nats: NatsServer) -> None:
    backend = memory_backend()
    lost = WithoutMessages(".live")
    async with FaultProxy.open(("127.0.0.1", shared_nats.port), transform_down=lost) as way:
        url = f"nats://127.0.0.1:{way.port}"
        theirs = with_stream(address_of(url, backend.log.lineage))
        async with (
            relay(shared_nats.url, backend),
            edge(theirs, settings=PATIENT) as parts,
            Following.on(parts) as following,
        ):
            written(backend.log, 1, 1)
            await following.until(1)
            lost.every = 1
            written(backend.log, 2, 2)
            assert await following.until(2) == numbers(1, 2)
            way.reset()
            lost.every = 0
            written(backend.log, 3, 3)
            assert await following.until(3) == numbers(1, 3)


@pytest.mark.parametrize("config", [JETSTREAM])
async def test_the_permissions_of_the_guide_are_enough_with_a_stream(tmp_path: Path, config: str) -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/scaling.md").read_text("utf-8")
    accounts = guide.partition('```text title="nats.conf"\n')[2].partition("```")[0]
    accounts = accounts.replace("$RELAY_PASSWORD", "r1").replace("$EDGE_PASSWORD", "e1")
    backend = memory_backend()
    with nats_server(tmp_path, f"{config}\n{accounts}") as server:
        lost = WithoutMessages(".live")
        async with FaultProxy.open(("127.0.0.1", server.port), transform_down=lost) as way:
            ours = f"nats://relay:r1@127.0.0.1:{server.port}?stream=shop"
            theirs = f"nats://edge:e1@127.0.0.1:{way.port}?stream=shop"
            theirs = address_of(theirs, backend.log.lineage)
            async with (
                relay(ours, backend),
                edge(theirs, settings=PATIENT) as parts,
                Following.on(parts) as following,
            ):
                written(backend.log, 1, 1)
                await following.until(1)
                asked = following.parts.edge.asked
                lost.every = 1
                written(backend.log, 2, 2)
                assert await following.until(2) == numbers(1, 2)
                assert following.parts.edge.asked == asked
