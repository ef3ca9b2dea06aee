"""Event streams in any ASGI server: Server-Sent Events of a node."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import msgspec

from flowcraft.adapters import server_sent
from flowcraft.adapters.asgi import (
    AsgiConnection,
    Receive,
    Scope,
    Send,
    answer_options,
    answer_request,
    check_head,
    encoded,
    end_tasks,
    headers_of,
    query_of,
    request_of,
)
from flowcraft.adapters.cors import answer_headers
from flowcraft.adapters.handshake import Refused, admit, method_not_allowed
from flowcraft.adapters.http import check_content_length, content_too_large
from flowcraft.adapters.request_socket import REQUEST_SECONDS, request_timeout
from flowcraft.adapters.rows_stream import RowsStream
from flowcraft.adapters.server_sent import BODY_BYTES, METHODS, client_messages, credential_of
from flowcraft.adapters.sockets import address_text
from flowcraft.adapters.uvicorn import StoppingServer
from flowcraft.carrier_ports import Entrance, GatewayPort, NodePort
from flowcraft.errors import LogUnavailable

_CHECK_SECONDS = 1.0
"""How often a stream checks whether the server is stopping: uvicorn does not notify responses."""
_UNCOMPRESSED = {"Content-Encoding": "identity"}
"""Middleware that compresses collects events, unless a response has an encoding: Starlette's before 0.46."""


class _Disconnected(Exception):
    """The client disconnected before its request was complete."""


class AsgiEventStream(AsgiConnection):
    """A response of an ASGI server whose body does not end; a `flowcraft.carrier_ports.Connection`."""

    def __init__(self, scope: Scope, send: Send, rows: tuple[str, ...]) -> None:
        super().__init__(scope, send)
        self.framing = server_sent.events if rows else server_sent.events_before_answer
        self._rows = RowsStream(rows, self._ask, self._cannot_read) if rows else None
        self.decided = asyncio.Event()
        """Set once the request is not refused, or the connection is closed: the response may begin."""
        self.refused: Refused | None = None
        """The response to a request that was refused before that."""

    def try_send(self, data: bytes) -> int:
        if self._rows is not None:
            data = self._rows.passed(data)
        elif self.framing is not server_sent.events and server_sent.has_position(data):
            self.framing = server_sent.events
        return super().try_send(data)

    def _ask(self, message: str) -> None:
        if self.gateway is not None:
            asyncio.get_running_loop().call_soon(self.gateway.received, message)

    def _cannot_read(self) -> None:
        asyncio.get_running_loop().call_soon(self.close, 1013, "the rows cannot be read now")

    def close(self, code: int, reason: str, rest: bytes = b"") -> None:
        super().close(code, reason, rest if self._rows is None else self._rows.passed(rest))
        if not self.decided.is_set():
            self.refused = server_sent.unauthorized(code, reason)
            self.decided.set()

    async def send_part(self, part: bytes) -> None:
        """Send a part of the body."""
        await self.send({"type": "http.response.body", "body": part, "more_body": True})

    async def _send_chunk(self, chunk: bytes) -> None:
        await self.send_part(chunk)

    async def _send_close(self, code: int, reason: str) -> None:
        await self.send({"type": "http.response.body", "body": server_sent.close(code, reason)})


async def serve_event_stream(scope: Scope, receive: Receive, send: Send, node: NodePort) -> None:
    """Answer one request with events until the client or the server ends the stream."""
    headers = headers_of(scope)
    if scope["method"] == "OPTIONS":
        await answer_options(scope, send, METHODS, node.settings)
        return
    try:
        opened = await _open(scope, headers, receive, node)
    except _Disconnected:
        return
    if isinstance(opened, Refused):
        await answer_request(scope, send, opened, node.settings)
        return
    connection = AsgiEventStream(scope, send, opened.rows)
    connection.address = opened.address
    gone = asyncio.create_task(_until_gone(receive))
    try:
        if await _is_decided(connection, opened, gone, node):
            await _answer(connection, scope, gone, node)
    finally:
        await connection.ended()
        await end_tasks({gone})


async def _is_decided(
    connection: AsgiEventStream, opened: _Opened, gone: asyncio.Task[None], node: NodePort
) -> bool:
    """Connect to the node and wait until it is known how to answer; return False if the client has left."""
    try:
        entrance = msgspec.structs.replace(opened.entrance, decided=connection.decided.set)
        gateway = connection.gateway = node.connect(connection, entrance=entrance)
    except LogUnavailable as error:  # the node was ready when the request arrived
        connection.close(1013, str(error))
        return True
    await _process(opened.messages, gateway)
    decided = asyncio.create_task(connection.decided.wait())
    await asyncio.wait({decided, gone}, return_when=asyncio.FIRST_COMPLETED)
    decided.cancel()
    return connection.decided.is_set()


async def _answer(
    connection: AsgiEventStream, scope: Scope, gone: asyncio.Task[None], node: NodePort
) -> None:
    """Send the response, and events until the client or the server ends the stream."""
    refused, send = connection.refused, connection.send
    if refused is not None:
        await answer_request(scope, send, refused, node.settings)
        return
    head = server_sent.HEADERS | _UNCOMPRESSED | answer_headers(headers_of(scope), node.settings)
    await send({"type": "http.response.start", "status": 200, "headers": encoded(head)})
    if scope["method"] == "HEAD":
        await send({"type": "http.response.body", "body": b""})
        return
    await connection.send_part(server_sent.GREETING)
    sending = connection.start()
    try:
        ended: set[asyncio.Future[None]] = set()
        while not ended:
            ended, _ = await asyncio.wait(
                {sending, gone}, timeout=_CHECK_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            server = None if ended else StoppingServer.of(signal.getsignal(signal.SIGTERM))
            if server is not None and server.should_exit:
                node.begin_drain(server.drain_seconds)
    finally:
        await connection.ended()


async def _process(messages: Iterator[str], gateway: GatewayPort) -> None:
    """Process the messages of a request. Nothing holds them afterwards: a stream may last for days."""
    for message in messages:
        gateway.received(message)
        await asyncio.sleep(0)  # other clients have their turn between two messages


@dataclass(frozen=True, slots=True)
class _Opened:
    """A request that was admitted, with the client's address and messages."""

    address: str
    messages: Iterator[str]
    entrance: Entrance
    rows: tuple[str, ...]
    """The channels whose rows the URL asks for."""


async def _open(scope: Scope, headers: dict[str, str], receive: Receive, node: NodePort) -> _Opened | Refused:
    """Admit a request and read its body, or return why it is refused."""
    if scope["method"] not in METHODS:
        return method_not_allowed(METHODS)
    admitted = check_head(scope, headers) or admit(
        query_of(scope), headers, node, address_text(scope.get("client"))
    )
    if isinstance(admitted, Refused):
        return admitted
    length = check_content_length(headers.get("content-length", "0"), BODY_BYTES)
    if isinstance(length, Refused):
        return length
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            body = await _body(receive)
    except TimeoutError:
        return request_timeout()
    if len(body) > BODY_BYTES:
        return content_too_large(BODY_BYTES)
    messages = client_messages(scope["method"], headers, bytes(body), admitted, node.settings)
    if isinstance(messages, Refused):
        return messages
    handshake = partial(request_of, scope, admitted.address, node.settings)
    entrance = Entrance(handshake, credential_of(headers, messages))
    return _Opened(admitted.address, iter(messages), entrance, admitted.rows)


async def _body(receive: Receive) -> bytearray:
    body, more = bytearray(), True
    while more and len(body) <= BODY_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
