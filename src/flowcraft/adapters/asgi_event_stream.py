"""Event streams inside any ASGI application: Server-Sent Events from the same node."""

from __future__ import annotations

import asyncio
import signal

from flowcraft.adapters import server_sent
from flowcraft.adapters.accept_queue import judge
from flowcraft.adapters.asgi import (
    AsgiConnection,
    Receive,
    Scope,
    Send,
    answer_http,
    headers_of,
    query_of,
    refusal_headers,
)
from flowcraft.adapters.handshake import Refused
from flowcraft.adapters.stream_requests import BODY_BYTES, opening, response_headers
from flowcraft.errors import LogUnavailable
from flowcraft.ports import NodePort

_LOOK_SECONDS = 1.0


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
    opened = await _open(scope, headers, receive, node)
    if isinstance(opened, Refused):
        await answer_http(send, opened.status, opened.reason + "\n", more=refusal_headers(opened))
        return
    told = [(k.lower().encode(), v.encode()) for k, v in response_headers(headers.get("origin")).items()]
    await send({"type": "http.response.start", "status": 200, "headers": told})
    connection = AsgiEventStream(scope, send)
    await connection.send_part(server_sent.GREETING)
    await _converse(connection, opened, receive, node)


async def _converse(
    connection: AsgiEventStream, messages: tuple[str, ...], receive: Receive, node: NodePort
) -> None:
    sending, gone = connection.start(), asyncio.create_task(_until_gone(receive))
    try:
        gateway = connection.gateway = node.connect(connection)
    except LogUnavailable as error:  # it was ready when the request came
        connection.close(1013, str(error))
        await asyncio.gather(sending, return_exceptions=True)
        gone.cancel()
        return
    try:
        for message in messages:
            gateway.received(message)
        ended: set[asyncio.Task[None]] = set()
        while not ended:
            ended, _ = await asyncio.wait(
                {sending, gone}, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if not ended and _is_leaving():
                connection.close(1012, "restart")
    finally:
        gateway.closed()
        for task in (sending, gone):
            task.cancel()
        await asyncio.gather(sending, gone, return_exceptions=True)


async def _open(
    scope: Scope, headers: dict[str, str], receive: Receive, node: NodePort
) -> tuple[str, ...] | Refused:
    if scope["method"] not in {"GET", "POST"}:
        return Refused(405, "GET opens an event stream, or POST with the client's messages")
    judged = judge(query_of(scope), headers, node)
    if isinstance(judged, Refused):
        return judged
    body = await _body(receive)
    if len(body) > BODY_BYTES:
        return Refused(413, f"a body has at most {BODY_BYTES} bytes")
    return opening(scope["method"], headers, body, judged, node.settings)


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more and len(body) <= BODY_BYTES:
        message = await receive()
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
