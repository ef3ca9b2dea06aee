"""Clients that read rows slowly: what they hold together is bounded, and they share what is the same."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from websockets.asyncio.client import connect

from faults.rows_page import RowsPage
from flowcraft import Channels, Event, Realtime, Settings, migrate
from flowcraft.core import answers
from flowcraft.core.answers import Pages
from flowcraft.core.bundles import Bundle, Encoder
from flowcraft.core.delays import Histogram
from flowcraft.core.hub_effects import Subscribed
from flowcraft.core.states import State
from flowcraft.cursors import Cursor
from flowcraft.runtime import states
from flowcraft.runtime.clock import SystemClock
from flowcraft.runtime.node import Node
from flowcraft.runtime.outbox_sweep import OutboxSweep
from tests.rows.test_rows_on_the_wire import opened
from tests.support.postgres import connected
from tests.support.served import SECONDS, served

START = Cursor.parse("1/1.0/700:")
MIB = 1024 * 1024


class Item(Event):
    id: int
    list_id: int
    text: str


channels = Channels()
item_rows = channels.rows("item_rows.{list_id}", Item, table="items", key="id", params={"list_id": int})


@pytest.fixture
async def prepared(database: str) -> str:
    """A dozen lists of 4 MiB each: more than the kernel takes for a client that reads nothing."""
    async with connected(database) as connection:
        await connection.execute("""
            create table items (id int primary key, list_id int not null, text text not null);
            create index on items (list_id);
            insert into items select n, n % 12, repeat('x', 10000) from generate_series(1, 4800) as n
        """)
        await migrate(connection, channels)
    return database


def a_state(size: int, pages: int = 1) -> State:
    return State("item_rows.1", START, pages, 0, tuple(Bundle([b"x" * size]) for _ in range(pages)))


def subscribed(session: int, state: State) -> Subscribed:
    return Subscribed(session, ("item_rows.1",), (), START, session, state)


def test_the_bytes_of_a_state_are_shared_and_are_let_go_once_sent() -> None:
    state, encoder = a_state(10_000, pages=2), Encoder()
    parts = [answers.encode(subscribed(session, state), encoder)[0] for session in (1, 2)]
    assert all(isinstance(part, Pages) for part in parts)
    first, second = (part for part in parts if isinstance(part, Pages))
    for page in state.pages:
        assert first.take() is page
        assert second.take() is page
    assert (first.state, second.state) == (None, None)
    assert [b'"ref":1' in first.take().messages[0], b'"ref":2' in second.take().messages[0]] == [True, True]
    assert (first.is_sent, second.is_sent) == (True, True)


@dataclass(eq=False)
class Slow:
    """A client that takes nothing."""

    held: list[State]
    waiting_bytes: int = 0
    closed: list[str] = field(default_factory=list[str])

    def sweep(self, now: float) -> bool:
        return not self.closed

    def states(self) -> list[State]:
        return self.held

    def close_slow(self) -> None:
        self.closed.append("slow")


@pytest.mark.parametrize(
    ("limit", "closed"),
    [
        (40, [False, False, False, False]),
        (39, [True, False, True, False]),
        (19, [True, True, True, False]),
        (0, [True, True, True, True]),
    ],
)
def test_those_that_hold_the_oldest_states_are_closed(limit: int, closed: list[bool]) -> None:
    """Two share the oldest state of 20 bytes; a client that has several is one of each."""
    oldest, middle, newest = a_state(10, pages=2), a_state(10), a_state(10)
    slow = [Slow([oldest]), Slow([middle]), Slow([oldest]), Slow([newest])]
    sweep = OutboxSweep(15.0, limit, SystemClock(), Histogram())
    for one in slow:
        sweep.add(one)
    sweep._sweep(0.0)  # pyright: ignore[reportPrivateUsage]
    assert [bool(one.closed) for one in slow] == closed


@asynccontextmanager
async def unread(address: str, channel: str) -> AsyncIterator[None]:
    """A client that asks for rows and reads nothing of them."""
    host, port = address.removeprefix("ws://").partition("/")[0].split(":")
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.setblocking(False)
    await asyncio.get_running_loop().sock_connect(small, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=small, limit=4096)
    head = (
        f"GET /realtime HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    asked = json.dumps({"subscribe": [channel], "rows": True, "ref": 1}).encode()
    frame = bytes([0x81, 0x80 | len(asked)]) + bytes(4) + asked
    writer.write(head.encode() + frame)
    await reader.readuntil(b"\r\n\r\n")
    try:
        yield
    finally:
        writer.transport.abort()


def held(node: Node) -> set[State]:
    """The states that clients of a server have not been sent whole."""
    waiting = node._sweep._waiting  # pyright: ignore[reportPrivateUsage]
    return {state for sender in waiting for state in sender.states()}


async def until_counted(node: Node, states: int) -> None:
    async with asyncio.timeout(SECONDS):
        while node.counts.states < states:  # noqa: ASYNC110  # a counter tells nobody
            await asyncio.sleep(0.02)


async def test_slow_clients_hold_a_bounded_number_of_states_and_others_are_served(prepared: str) -> None:
    """A dozen clients that read nothing of a dozen lists, where two such states are allowed."""
    settings = Settings(rows_unread_bytes=20 * MIB)
    async with (
        served(Realtime(channels, dsn=prepared, settings=settings)) as (node, address),
        AsyncExitStack() as stack,
    ):
        for number in range(12):
            await stack.enter_async_context(unread(address, f"item_rows.{number}"))
        await until_counted(node, 12)
        node._sweep._sweep(0.0)  # pyright: ignore[reportPrivateUsage]  # what its timer does each second
        assert 0 < sum([state.held_bytes for state in held(node)]) <= 20 * MIB
        assert node.counts.slow_closes == 12 - len(held(node))
        async with connect(address) as client:
            page = RowsPage("item_rows.3")
            await opened(page, client)
            assert len(page.rows["item_rows.3"]) == 400


async def test_slow_clients_of_one_list_share_its_bytes(prepared: str) -> None:
    """Thirty clients that read nothing of one list hold what one of them holds, and none is closed."""
    settings = Settings(rows_unread_bytes=10 * MIB)
    async with (
        served(Realtime(channels, dsn=prepared, settings=settings)) as (node, address),
        AsyncExitStack() as stack,
    ):
        for _ in range(30):
            await stack.enter_async_context(unread(address, "item_rows.1"))
        await until_counted(node, 30)
        node._sweep._sweep(0.0)  # pyright: ignore[reportPrivateUsage]
        assert (len(held(node)), node.counts.slow_closes, node.counts.state_reads) == (1, 0, 1)


async def test_a_list_that_slow_clients_hold_is_not_read_again_where_all_hold_much(
    prepared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later clients of a list share the state that slow ones hold, with what has followed it."""
    monkeypatch.setattr(states, "KEPT_SECONDS", -1.0)
    async with served(Realtime(channels, dsn=prepared)) as (node, address), AsyncExitStack() as stack:
        for number in range(10):
            await stack.enter_async_context(unread(address, f"item_rows.{number}"))
        await until_counted(node, 10)
        async with connected(prepared) as connection, connect(address) as client:
            await connection.execute("delete from items where list_id = 1 and id > 13")
            page = RowsPage("item_rows.1")
            await opened(page, client)
            while len(page.rows["item_rows.1"]) > 2:
                page.received(await client.recv())
        assert node.counts.state_reads == 10
