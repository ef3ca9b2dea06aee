"""Event streams in any ASGI server: Server-Sent Events of a node."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

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
)
from flowcraft.adapters.cors import answer_headers
from flowcraft.adapters.handshake import Refused, admit, method_not_allowed
from flowcraft.adapters.http import check_content_length, content_too_large
from flowcraft.adapters.request_socket import REQUEST_SECONDS, request_timeout
from flowcraft.adapters.server_sent import BODY_BYTES, METHODS, client_messages
from flowcraft.adapters.sockets import address_text
from flowcraft.adapters.uvicorn import StoppingServer
from flowcraft.errors import LogUnavailable
from flowcraft.ports import GatewayPort, NodePort

_CHECK_SECONDS = 1.0
"""How often a stream checks whether the server is stopping: uvicorn does not notify responses."""


class _Disconnected(Exception):
    """The client disconnected before its request was complete."""


class AsgiEventStream(AsgiConnection):
    """A response of an ASGI server whose body does not end; a `flowcraft.ports.Connection`."""

    def __init__(self, scope: Scope, send: Send) -> None:
        super().__init__(scope, send)
        self.framing = server_sent.events_before_answer

    def try_send(self, data: bytes) -> int:
        if self.framing is not server_sent.events and server_sent.has_position(data):
            self.framing = server_sent.events
        return super().try_send(data)

    async def send_part(self, part: bytes) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": part, "more_body": True})

    async def _send_chunk(self, chunk: bytes) -> None:
        await self.send_part(chunk)

    async def _send_close(self, code: int, reason: str) -> None:
        await self._send({"type": "http.response.body", "body": server_sent.close(code, reason)})


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
    head = server_sent.HEADERS | answer_headers(headers, node.settings)
    await send({"type": "http.response.start", "status": 200, "headers": encoded(head)})
    if scope["method"] == "HEAD":
        await send({"type": "http.response.body", "body": b""})
        return
    connection = AsgiEventStream(scope, send)
    connection.address, messages = opened
    await connection.send_part(server_sent.GREETING)
    await _serve(connection, messages, receive, node)


async def _serve(
    connection: AsgiEventStream, messages: Iterator[str], receive: Receive, node: NodePort
) -> None:
    sending, gone = connection.start(), asyncio.create_task(_until_gone(receive))
    try:
        gateway = connection.gateway = node.connect(connection)
    except LogUnavailable as error:  # the node was ready when the request arrived
        connection.close(1013, str(error))
        await end_tasks({sending}, cancel=False)
        gone.cancel()
        return
    try:
        await _process(messages, gateway)
        ended: set[asyncio.Task[None]] = set()
        while not ended:
            ended, _ = await asyncio.wait(
                {sending, gone}, timeout=_CHECK_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            server = None if ended else StoppingServer.of(signal.getsignal(signal.SIGTERM))
            if server is not None and server.should_exit:
                node.begin_drain(server.drain_seconds)
    finally:
        connection.ended()
        await end_tasks({sending, gone})


async def _process(messages: Iterator[str], gateway: GatewayPort) -> None:
    """Process the messages of a request. Nothing holds them afterwards: a stream may last for days."""
    for message in messages:
        gateway.received(message)
        await asyncio.sleep(0)  # other clients have their turn between two messages


async def _open(
    scope: Scope, headers: dict[str, str], receive: Receive, node: NodePort
) -> tuple[str, Iterator[str]] | Refused:
    """Admit a request and read its body; return address and messages of the client, or why it is refused."""
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
    return messages if isinstance(messages, Refused) else (admitted.address, iter(messages))


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
