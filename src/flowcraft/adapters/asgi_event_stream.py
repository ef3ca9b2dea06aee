"""Event streams inside any ASGI application: Server-Sent Events from the same node."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

from flowcraft.adapters import server_sent
from flowcraft.adapters.accept_queue import judge
from flowcraft.adapters.asgi import (
    AsgiConnection,
    Receive,
    Scope,
    Send,
    answer_http,
    end_tasks,
    headers_of,
    query_of,
    refusal_headers,
)
from flowcraft.adapters.handshake import Refused
from flowcraft.adapters.http import parse_content_length
from flowcraft.adapters.request_socket import REQUEST_SECONDS
from flowcraft.adapters.stream_requests import BODY_BYTES, opening, response_headers
from flowcraft.errors import LogUnavailable
from flowcraft.ports import GatewayPort, NodePort

_LOOK_SECONDS = 1.0
_TOO_LARGE = Refused(413, f"content too large: at most {BODY_BYTES} bytes")


class _Disconnected(Exception):
    """The client is gone before its request was whole."""


class AsgiEventStream(AsgiConnection):
    """A response that an ASGI server holds and that does not end; a `flowcraft.ports.Connection`."""

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
    """Answer one request with events until one of both sides ends it."""
    headers = headers_of(scope)
    try:
        opened = await _open(scope, headers, receive, node)
    except _Disconnected:
        return
    if isinstance(opened, Refused):
        await answer_http(send, opened.status, opened.reason + "\n", more=refusal_headers(opened))
        return
    told = [(k.lower().encode(), v.encode()) for k, v in response_headers(headers.get("origin")).items()]
    await send({"type": "http.response.start", "status": 200, "headers": told})
    connection = AsgiEventStream(scope, send)
    await connection.send_part(server_sent.GREETING)
    await _converse(connection, opened, receive, node)


async def _converse(
    connection: AsgiEventStream, messages: Iterator[str], receive: Receive, node: NodePort
) -> None:
    sending, gone = connection.start(), asyncio.create_task(_until_gone(receive))
    try:
        gateway = connection.gateway = node.connect(connection)
    except LogUnavailable as error:  # it was ready when the request came
        connection.close(1013, str(error))
        await end_tasks({sending}, cancel=False)
        gone.cancel()
        return
    try:
        await _pass_on(messages, gateway)
        ended: set[asyncio.Task[None]] = set()
        while not ended:
            ended, _ = await asyncio.wait(
                {sending, gone}, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if not ended and _is_leaving():
                connection.close(1012, "restart")
    finally:
        connection.ended()
        await end_tasks({sending, gone})


async def _pass_on(messages: Iterator[str], gateway: GatewayPort) -> None:
    """Pass on the messages of a request. Afterwards nothing holds them: a stream may last for days."""
    for message in messages:
        gateway.received(message)
        await asyncio.sleep(0)  # between two of them other clients have their turn


async def _open(
    scope: Scope, headers: dict[str, str], receive: Receive, node: NodePort
) -> Iterator[str] | Refused:
    """Judge a request and read its body; return the client's messages, which are gone once they were read."""
    if scope["method"] not in {"GET", "POST"}:
        return Refused(405, "method not allowed: expected GET or POST", {"Allow": "GET, POST"})
    judged = judge(query_of(scope), headers, node)
    if isinstance(judged, Refused):
        return judged
    length = parse_content_length(headers.get("content-length", "0"))
    if length is None:
        return Refused(400, "bad request: Content-Length is not a decimal number of at most 20 digits")
    if length > BODY_BYTES:
        return _TOO_LARGE
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            body = await _body(receive)
    except TimeoutError:
        return Refused(408, f"request timeout: a request arrives within {REQUEST_SECONDS:g} seconds")
    if len(body) > BODY_BYTES:
        return _TOO_LARGE
    messages = opening(scope["method"], headers, bytes(body), judged, node.settings)
    return messages if isinstance(messages, Refused) else iter(messages)


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


def _is_leaving() -> bool:
    """Tell whether the server around us has been told to stop: uvicorn waits until all answers end."""
    handler = signal.getsignal(signal.SIGTERM)
    return bool(getattr(getattr(handler, "__self__", None), "should_exit", False))
