"""Event streams inside any ASGI application: Server-Sent Events from the same node."""

from __future__ import annotations

import asyncio
import signal

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
from flowcraft.adapters.doorstep import judge
from flowcraft.core.event_stream import BODY_BYTES, EventStream, opening, response_headers
from flowcraft.core.frames import Bundle
from flowcraft.core.handshake import Refused
from flowcraft.core.server_sent import GREETING, close
from flowcraft.errors import LogUnavailable
from flowcraft.ports import Reception

_LOOK_SECONDS = 1.0


class AsgiEventStream(AsgiConnection):
    """A response that an ASGI server holds and that does not end; a `flowcraft.ports.Connection`."""

    def __init__(self, send: Send, reception: Reception) -> None:
        super().__init__(send, reception)
        self._stream = EventStream()

    async def _send_bundle(self, bundle: Bundle) -> None:
        await self.send_part(self._stream.framed(bundle))

    async def _send_close(self, code: int, reason: str) -> None:
        await self._send({"type": "http.response.body", "body": close(code, reason)})

    async def send_part(self, part: bytes) -> None:
        """Send something of the body."""
        await self._send({"type": "http.response.body", "body": part, "more_body": True})


async def serve_event_stream(scope: Scope, receive: Receive, send: Send, reception: Reception) -> None:
    """Answer one request with events until one of both sides ends it."""
    headers = headers_of(scope)
    opened = await _open(scope, headers, receive, reception)
    if isinstance(opened, Refused):
        await answer_http(send, opened.status, opened.reason + "\n", more=refusal_headers(opened))
        return
    told = [(k.lower().encode(), v.encode()) for k, v in response_headers(headers.get("origin")).items()]
    await send({"type": "http.response.start", "status": 200, "headers": told})
    connection = AsgiEventStream(send, reception)
    await connection.send_part(GREETING)
    await _converse(connection, opened, receive, reception)


async def _converse(
    connection: AsgiEventStream, messages: tuple[str, ...], receive: Receive, reception: Reception
) -> None:
    sending, gone = connection.start(), asyncio.create_task(_until_gone(receive))
    try:
        conversation = connection.conversation = reception.connect(connection)
    except LogUnavailable as error:  # it was ready when the request came
        connection.close(1013, str(error))
        await asyncio.gather(sending, return_exceptions=True)
        gone.cancel()
        return
    try:
        for message in messages:
            conversation.received(message)
        ended: set[asyncio.Task[None]] = set()
        while not ended:
            ended, _ = await asyncio.wait(
                {sending, gone}, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if not ended and _is_leaving():
                connection.close(1012, "restart")
    finally:
        conversation.closed()
        for task in (sending, gone):
            task.cancel()
        await asyncio.gather(sending, gone, return_exceptions=True)


async def _open(
    scope: Scope, headers: dict[str, str], receive: Receive, reception: Reception
) -> tuple[str, ...] | Refused:
    if scope["method"] not in {"GET", "POST"}:
        return Refused(405, "GET opens an event stream, or POST with the client's messages")
    judged = judge(query_of(scope), headers, reception)
    if isinstance(judged, Refused):
        return judged
    body = await _body(receive)
    if len(body) > BODY_BYTES:
        return Refused(413, f"a body has at most {BODY_BYTES} bytes")
    return opening(scope["method"], headers, body, judged, reception.settings)


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
