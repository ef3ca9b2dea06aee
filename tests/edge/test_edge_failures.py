"""Edges when something is missing: one clear line each, clients stay, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from flowcraft.adapters.memory import MemoryBackend, MemoryLog
from flowcraft.adapters.nats.address import LogAddress, LogAddressInvalid
from flowcraft.adapters.nats.backend import NatsBackend
from flowcraft.adapters.nats.edge import GAP_SECONDS
from flowcraft.adapters.nats.messages import Subjects, decode_link, encode_link
from flowcraft.core.chain import Link
from flowcraft.cursors import Cursor
from flowcraft.entrypoints.relaying import RelayServer
from flowcraft.records import Batch, Limit
from flowcraft.runtime.node import Node
from flowcraft.runtime.serving import Serving
from flowcraft.settings import Settings
from flowcraft.testing.contracts.service import contract_channels
from flowcraft.testing.inbox import Inbox
from tests.support.edges import address_of, edge, fresh_lineage, memory_backend, relay, running
from tests.support.nats import NatsServer, nats_server

SETTINGS = Settings(drain_seconds=0.01)
SECONDS = 15.0


@asynccontextmanager
async def node_on(url: str, *, until_ready: bool = True) -> AsyncIterator[Node]:
    """An edge node."""
    backend = NatsBackend(url)
    serving = Serving(contract_channels, backend, settings=SETTINGS)
    serving.start()
    try:
        if until_ready:
            await until(lambda: serving.node.report().ready)
        yield serving.node
    finally:
        await serving.stop()
        await backend.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110  # what it looks at has no event
            await asyncio.sleep(0.01)


async def trouble(node: Node, *words: str) -> str:
    """Wait until the node is not ready, and an error of its report has all of these words; return that."""

    def found() -> str | None:
        report = node.report()
        lines = [text for text in report.errors.values() if all(word in text for word in words)]
        return lines[0] if lines and not report.ready else None

    await until(lambda: found() is not None)
    text = found()
    assert text is not None
    assert "\n" not in text
    return text


async def subscribed(node: Node, since: str | None = None) -> Inbox:
    inbox = Inbox()
    request: dict[str, object] = {"subscribe": ["stepped_update"]}
    text = msgspec.json.encode(request if since is None else {**request, "since": since}).decode()
    node.connect(inbox).received(text)
    async with asyncio.timeout(SECONDS):
        while inbox.answer is None:
            await inbox.news()
    assert inbox.answer == "subscribed"
    return inbox


async def steps(inbox: Inbox, count: int) -> list[int]:
    async with asyncio.timeout(SECONDS):
        while len(inbox.received) < count:
            await inbox.news()
    return [msgspec.json.decode(event.payload)["step"] for event in inbox.received]


def step(log: MemoryLog, number: int) -> None:
    log.broadcast("stepped_update", f'{{"type":"Stepped","step":{number}}}')


# what is missing from the start


async def test_a_wrong_address_is_one_line_and_the_node_waits() -> None:
    async with node_on("nats://127.0.0.1:1/1.1", until_ready=False) as node:
        line = await trouble(node, "NATS at nats://127.0.0.1:1", "FLOWCRAFT_LOG_URL")
        assert "refused" in line.lower() or "connect" in line.lower()
        assert node.report().state == "starting"


async def test_the_line_has_no_password() -> None:
    async with node_on("nats://me:secret@127.0.0.1:1/1.1", until_ready=False) as node:
        assert "secret" not in await trouble(node, "cannot be reached")


@pytest.mark.parametrize(
    "text",
    ["", "nats", "http://a", "nats://", "nats://a:b", "nats://a,,b", "nats://a/b", "nats://a:4222/1.2.3"],
)
def test_an_address_that_can_never_work_is_refused_with_its_form(text: str) -> None:
    with pytest.raises(LogAddressInvalid, match=r"nats://|<system>"):
        LogAddress.parse(text)


def test_an_address_may_have_several_servers_and_a_database() -> None:
    address = LogAddress.parse("tls://u:p@a:1,b,c:3/7301.5")
    assert address.servers == ("tls://u:p@a:1", "tls://u:p@b", "tls://u:p@c:3")
    assert (address.subjects, str(address)) == (Subjects(7301, 5), "tls://a:1,b,c:3")


async def test_without_a_relay_the_line_says_how_to_start_one(shared_nats: NatsServer) -> None:
    async with node_on(address_of(shared_nats.url, fresh_lineage()), until_ready=False) as node:
        await trouble(node, "no relay", "flowcraft relay")


async def test_a_node_without_a_named_database_finds_it(nats: NatsServer) -> None:
    backend = memory_backend()
    async with relay(nats.url, backend), node_on(nats.url) as node:
        inbox = await subscribed(node)
        step(backend.log, 1)
        assert await steps(inbox, 1) == [1]


async def test_two_databases_at_one_address_have_to_be_told_apart(nats: NatsServer) -> None:
    one, other = memory_backend(), memory_backend()
    async with relay(nats.url, one), relay(nats.url, other), node_on(nats.url, until_ready=False) as node:
        line = await trouble(node, "add one of these to the address")
        assert str(Subjects.of(one.log.lineage)) in line
        assert str(Subjects.of(other.log.lineage)) in line


CLOSED = """
accounts { A: { users: [
  { user: relay, password: r },
  { user: edge, password: e, permissions: { subscribe: { deny: ["flowcraft.*.*.live"] } } },
  { user: mute, password: m, permissions: { publish: { deny: ["flowcraft.*.*.ask"] } } }
] } }
"""


async def test_a_missing_permission_is_one_line(tmp_path: Path) -> None:
    backend = memory_backend()
    with nats_server(tmp_path, CLOSED) as nats:
        as_user = nats.url.replace("nats://", "nats://{}@")
        async with relay(as_user.format("relay:r"), backend):
            for user, subject in (("edge:e", "live"), ("mute:m", "ask")):
                url = address_of(as_user.format(user), backend.log.lineage)
                async with node_on(url, until_ready=False) as node:
                    line = await trouble(node, "ermissions", f".{subject}")
                    assert "lacks this permission" in line
            wrong = address_of(as_user.format("nobody:x"), backend.log.lineage)
            async with node_on(wrong, until_ready=False) as node:
                await trouble(node, "uthorization")


async def test_a_server_that_accepts_small_messages_only_is_refused(tmp_path: Path) -> None:
    backend = memory_backend()
    with nats_server(tmp_path, "max_payload: 65536") as nats:
        async with node_on(address_of(nats.url, backend.log.lineage), until_ready=False) as node:
            await trouble(node, "65536", "max_payload")
        server = RelayServer(contract_channels, backend, LogAddress.parse(nats.url))
        with pytest.raises(Exception, match="max_payload"):
            await server.run()


async def test_the_permissions_of_the_guide_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/scaling.md").read_text("utf-8")
    config = guide.partition('```text title="nats.conf"\n')[2].partition("```")[0]
    monkeypatch.setenv("RELAY_PASSWORD", "r1")
    monkeypatch.setenv("EDGE_PASSWORD", "e1")
    backend = memory_backend()
    with nats_server(tmp_path, config) as nats:
        as_user = nats.url.replace("nats://", "nats://{}@")
        async with (
            relay(as_user.format("relay:r1"), backend),
            node_on(as_user.format("edge:e1")) as node,
            edge(address_of(as_user.format("edge:e1"), backend.log.lineage)) as parts,
        ):
            inbox = await subscribed(node)
            step(backend.log, 1)
            assert await steps(inbox, 1) == [1]
            start = (await parts.log.position()).cursor
            step(backend.log, 2)
            backend.log.broadcast("runs.1", f'"{"x" * 3_000_000}"')
            assert len((await parts.log.tail(start)).records) == 2
            assert node.report().errors == {}


# what is lost on the way


async def test_a_killed_broker_costs_no_event_and_no_client(nats: NatsServer) -> None:
    backend = memory_backend()
    url = address_of(nats.url, backend.log.lineage)
    async with relay(nats.url, backend), node_on(url) as node:
        inbox = await subscribed(node)
        step(backend.log, 1)
        assert await steps(inbox, 1) == [1]
        nats.end()
        for number in (2, 3):
            step(backend.log, number)
        await trouble(node, "NATS at")
        assert inbox.closed is None
        nats.start()
        assert await steps(inbox, 3) == [1, 2, 3]
        await until(lambda: node.report().ready)
        assert inbox.answer == "subscribed"


async def test_a_frozen_broker_makes_an_edge_stale_and_not_its_clients(nats: NatsServer) -> None:
    backend = memory_backend()
    async with relay(nats.url, backend), node_on(address_of(nats.url, backend.log.lineage)) as node:
        inbox = await subscribed(node)
        nats.freeze()
        await until(lambda: node.report().state == "stale")
        step(backend.log, 1)
        nats.thaw()
        assert await steps(inbox, 1) == [1]
        await until(lambda: node.report().ready)
        assert inbox.closed is None


async def test_another_relay_takes_over_and_nothing_is_lost(shared_nats: NatsServer) -> None:
    log = MemoryLog(lineage=fresh_lineage())
    async with AsyncExitStack() as first:
        leading = await first.enter_async_context(relay(shared_nats.url, MemoryBackend(log)))
        second = RelayServer(contract_channels, MemoryBackend(log), LogAddress.parse(shared_nats.url))
        async with running(second.run), node_on(address_of(shared_nats.url, log.lineage)) as node:
            inbox = await subscribed(node)
            await until(lambda: second.state == "standing by")
            step(log, 1)
            assert await steps(inbox, 1) == [1]
            assert leading.state == "leading"
            await first.aclose()
            step(log, 2)
            assert await steps(inbox, 2) == [1, 2]
            assert second.state == "leading"


@pytest.mark.timeout(150)
async def test_of_two_relays_that_lead_one_stands_by_and_nothing_is_doubled(shared_nats: NatsServer) -> None:
    log = MemoryLog(lineage=fresh_lineage())
    async with (
        relay(shared_nats.url, MemoryBackend(log)) as one,
        relay(shared_nats.url, MemoryBackend(log)) as other,
        node_on(address_of(shared_nats.url, log.lineage)) as node,
    ):
        inbox = await subscribed(node)
        for number in range(1, 51):
            step(log, number)
            await asyncio.sleep(0.005)
        assert await steps(inbox, 50) == list(range(1, 51))
        await until(lambda: sorted([one.state, other.state]) == ["leading", "standing by"])
        step(log, 51)
        assert await steps(inbox, 51) == list(range(1, 52))


async def test_a_client_moves_between_an_edge_and_a_node_on_the_log(shared_nats: NatsServer) -> None:
    log = MemoryLog(lineage=fresh_lineage())
    direct = Serving(contract_channels, MemoryBackend(log), settings=SETTINGS)
    direct.start()
    async with (
        relay(shared_nats.url, MemoryBackend(log)),
        node_on(address_of(shared_nats.url, log.lineage)) as node,
    ):
        await direct.node.until_accepting()
        inbox = await subscribed(node)
        step(log, 1)
        assert await steps(inbox, 1) == [1]
        step(log, 2)
        inbox = await subscribed(direct.node, inbox.cursor)
        assert await steps(inbox, 1) == [2]
        step(log, 3)
        assert await steps(inbox, 2) == [2, 3]
        step(log, 4)
        inbox = await subscribed(node, inbox.cursor)
        assert 4 in await steps(inbox, 1)
        assert 2 not in await steps(inbox, 1)
    await direct.stop()


async def test_a_batch_that_is_too_long_to_publish_is_asked_for(shared_nats: NatsServer) -> None:
    backend = memory_backend()
    async with (
        relay(shared_nats.url, backend),
        edge(address_of(shared_nats.url, backend.log.lineage)) as parts,
    ):
        start = (await parts.log.position()).cursor
        transaction = backend.log.begin()
        payloads = [f'"{number}{"x" * 200_000}"' for number in range(40)]
        for payload in payloads:
            transaction.broadcast("runs.1", payload)
        transaction.commit()
        await until(lambda: parts.edge.gaps > 0)
        behind = parts.edge.report().behind_seconds
        assert behind >= GAP_SECONDS
        await parts.edge.wait()
        batch = await parts.log.tail(start)
        assert [record.payload for record in batch.records] == payloads
        await until(lambda: parts.edge.report().behind_seconds < behind)


async def test_a_batch_is_decoded_once_whatever_the_number_of_clients(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Link] = []

    def counted(content: bytes) -> Link:
        decoded.append(decode_link(content))
        return decoded[-1]

    monkeypatch.setattr("flowcraft.adapters.nats.edge.decode_link", counted)
    backend = memory_backend()
    url = address_of(shared_nats.url, backend.log.lineage)
    async with relay(shared_nats.url, backend), node_on(url) as node:
        inboxes = [await subscribed(node) for _ in range(5)]
        for number in (1, 2, 3):
            step(backend.log, number)
            for inbox in inboxes:
                assert await steps(inbox, number) == list(range(1, number + 1))
        assert len(decoded) == 3


class SlowLog(MemoryLog):
    """A log whose tails wait until they may go on, and are counted."""

    def __init__(self) -> None:
        super().__init__(lineage=fresh_lineage())
        self.going = asyncio.Event()
        self.going.set()
        self.tails = 0

    async def tail(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        self.tails += 1
        await self.going.wait()
        return await super().tail(after, limit=limit)


async def test_edges_that_ask_the_same_share_a_read(shared_nats: NatsServer) -> None:
    log = SlowLog()
    url = address_of(shared_nats.url, log.lineage)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(relay(shared_nats.url, MemoryBackend(log)))
        edges = [await stack.enter_async_context(edge(url)) for _ in range(12)]
        start = (await edges[0].log.position()).cursor
        await asyncio.gather(*(one.log.position() for one in edges))
        log.going.clear()
        before = log.tails
        asking = [asyncio.create_task(one.log.tail(start)) for one in edges]
        await until(lambda: log.tails > before)
        await asyncio.gather(*(one.log.position() for one in edges))  # by then every question has arrived
        step(log, 1)
        log.going.set()
        batches = await asyncio.gather(*asking)
        assert {batch.cursor.lineage for batch in batches} == {log.lineage}
        assert log.tails - before <= 6


async def test_messages_of_strangers_change_nothing(shared_nats: NatsServer) -> None:
    from nats.aio.client import Client

    backend = memory_backend()
    subjects = Subjects.of(backend.log.lineage)
    async with (
        relay(shared_nats.url, backend),
        node_on(address_of(shared_nats.url, backend.log.lineage)) as node,
    ):
        inbox = await subscribed(node)
        stranger = Client()
        await stranger.connect(shared_nats.url)
        other = MemoryLog(lineage=fresh_lineage()).position_now()
        for subject in (subjects.live, subjects.beat, subjects.ask, subjects.wake, subjects.ephemeral):
            for data in (b"", b"{}", b"\xff\n{}", encode_link(Link(other.cursor, other))):
                await stranger.publish(subject, data)
        await stranger.close()
        step(backend.log, 1)
        assert await steps(inbox, 1) == [1]
        assert node.report().ready
