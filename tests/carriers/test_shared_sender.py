"""The shared sender: one task sends for many connections, and none of them waits for another's client."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any
from unittest.mock import Mock

import pytest

from flowcraft.adapters.asgi import AsgiConnection
from flowcraft.adapters.shared_sender import SharedSender
from flowcraft.carrier_ports import GatewayPort

pytestmark = pytest.mark.asyncio


class Client:
    """A connection that notes in which task it sends; it waits for `until` if there is one."""

    def __init__(self, until: asyncio.Future[None] | None = None) -> None:
        self.waits = False
        self.sending: asyncio.Task[None] | None = None
        self.until = until
        self.tasks: list[asyncio.Task[None] | None] = []
        self.done = 0

    async def send_all(self) -> None:
        self.tasks.append(asyncio.current_task())
        if self.until is not None:
            await self.until
        self.done += 1


async def turns(count: int) -> None:
    """Let the event loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_connections_that_send_at_once_share_a_task() -> None:
    sender, clients = SharedSender(), [Client() for _ in range(10)]
    for client in clients:
        sender.add(client)
    await turns(1)
    assert [client.done for client in clients] == [1] * 10
    assert len({task for client in clients for task in client.tasks}) == 1
    sender.add(clients[0])
    await turns(1)
    assert (clients[0].done, clients[0].waits) == (2, False)


async def test_a_connection_that_waits_keeps_the_task_and_the_others_go_on() -> None:
    sender, until = SharedSender(), asyncio.get_running_loop().create_future()
    slow, after = Client(until), [Client(), Client(until), Client()]
    for client in (slow, *after):
        sender.add(client)
    await turns(6)
    assert [client.done for client in after] == [1, 0, 1]
    assert (slow.done, slow.waits, slow.sending) == (0, True, slow.tasks[0])
    sender.add(Client(until))
    until.set_result(None)
    await turns(4)
    assert (slow.done, after[1].done) == (1, 1)
    first = slow.tasks[0]
    sender.add(slow)
    assert slow.sending is not None
    assert slow.sending is not first
    await turns(2)
    assert slow.done == 2


async def test_a_task_that_is_cancelled_takes_nobody_with_it() -> None:
    sender, until = SharedSender(), asyncio.get_running_loop().create_future()
    slow, others = Client(until), [Client(), Client()]
    sender.add(slow)
    await turns(2)
    assert slow.sending is not None
    for client in others:
        sender.add(client)
    slow.sending.cancel()
    await turns(3)
    assert [client.done for client in others] == [1, 1]
    assert slow.done == 0


@pytest.mark.parametrize("turns_before", range(4))
async def test_nothing_is_sent_after_a_connection_has_ended(turns_before: int) -> None:
    """Whether sending has not begun, has just begun to wait, or waits for long."""
    sent: list[str] = []
    under_way = 0

    async def send(_: object) -> None:
        nonlocal under_way
        sent.append("begun")
        under_way += 1
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            under_way -= 1

    connection = AsgiConnection({"type": "websocket", "client": ("127.0.0.1", 1)}, send)
    closed = connection.start()
    connection.try_send(b"{}")
    await turns(turns_before)
    await connection.ended()
    assert (under_way, closed.done()) == (0, True)
    begun = len(sent)
    connection.try_send(b"{}")
    await turns(4)
    assert len(sent) == begun


SEND = {"type": "websocket.send", "text": "{}"}
RESTART = {"type": "websocket.close", "code": 1012, "reason": "restart"}
LAST = {"type": "websocket.close", "code": 1000, "reason": "internal error: the server cannot send"}
FAILED = {"type": "websocket.close", "code": 1011, "reason": "internal error: the server cannot send"}


@pytest.mark.parametrize(
    ("failing", "sent"),
    [((), [SEND, RESTART]), ((SEND,), [SEND, FAILED]), ((SEND, FAILED), [SEND, FAILED, LAST])],
    ids=["nothing", "a message", "everything"],
)
async def test_what_cannot_be_sent_to_is_closed(failing: tuple[object, ...], sent: list[object]) -> None:
    """Daphne keeps a WebSocket open that an application leaves without a close."""
    tried: list[object] = []

    async def send(message: object) -> None:
        tried.append(message)
        if message in failing:
            raise RuntimeError("too long")

    connection = AsgiConnection({"type": "websocket", "client": ("127.0.0.1", 1)}, send)
    connection.try_send(b"{}")
    closed = connection.start()
    connection.close(1012, "restart")
    await closed
    assert tried == sent
    await connection.ended()


async def test_an_application_may_send_more_while_it_is_sent() -> None:
    """The outbox writes again when all has been sent: it is sent by the same task, in order."""
    sent: list[str] = []
    more = [b"b", b"c"]

    def writable() -> None:
        if more:
            connection.try_send(more.pop(0))

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message["text"])

    connection = AsgiConnection({"type": "websocket", "client": None}, send)
    connection.gateway = Mock(GatewayPort, writable=writable)
    closed = connection.start()
    connection.try_send(b"a")
    await turns(2)
    assert sent == ["a", "b", "c"]
    assert not closed.done()
    await connection.ended()
