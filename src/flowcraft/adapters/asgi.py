"""ASGI: the same node inside any ASGI application (https://asgi.readthedocs.io/en/latest/specs/www.html)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, TypeAlias

from flowcraft.adapters.doorstep import headers_of_refusal, judge
from flowcraft.core.frames import Bundle
from flowcraft.core.handshake import Refused
from flowcraft.core.lag import Lag
from flowcraft.core.mailbox import Mailbox
from flowcraft.errors import LogUnavailable
from flowcraft.ports import Conversation, Reception

logger = logging.getLogger("flowcraft")

# What the specification calls a scope and an event: dictionaries whose members depend on their type.
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
# Each framework writes these types in its own way, and their applications are all taken.
AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

_CLOSING_SECONDS = 1.0
_CONGESTED_BYTES = 64 * 1024


class AsgiConnection:
    """A socket that an ASGI server holds: writes go through a mailbox and one task that empties it."""

    def __init__(self, send: Send, reception: Reception) -> None:
        self._send = send
        self._reception = reception
        self._mailbox = Mailbox(reception.settings.queue_bytes)
        self._lag = Lag(reception.settings.queue_seconds)
        self._written = self._sent = 0
        self._watched = False
        self._something_to_do = asyncio.Event()
        self._closing: tuple[int, str] | None = None
        self._pump: asyncio.Task[None] | None = None
        self.congested = False
        self.conversation: Conversation | None = None

    def write(self, bundle: Bundle) -> None:
        if self._closing is not None:
            return
        if not self._mailbox.put(bundle):
            self.close_slow()
            return
        self._written += bundle.size
        self.congested = self.waiting_bytes > _CONGESTED_BYTES
        if not self._watched:
            self._watched = True
            self._reception.watch(self)
        self._something_to_do.set()

    def ping(self) -> None:
        """ASGI has no ping: the server that holds the socket sends its own."""

    def close(self, code: int, reason: str) -> None:
        if self._closing is not None:
            return
        self._closing = (code, reason)
        self._something_to_do.set()
        if self._pump is not None:  # it may be stuck in a write that the peer never reads
            asyncio.get_running_loop().call_later(_CLOSING_SECONDS, self._pump.cancel)

    @property
    def waiting_bytes(self) -> int:
        return self._written - self._sent

    def bound_queue(self, now: float) -> bool:
        if self._closing is None and self._lag.is_over(self._written, self._sent, now):
            self.close_slow()
        self._watched = self._closing is None and self._sent < self._written
        return self._watched

    def close_slow(self) -> None:
        logger.info("a client reads too slowly; closed with 4408, it will resume from its cursor")
        self._reception.counts.slow_closes += 1
        self._mailbox.clear()
        self.close(4408, "too slow")

    def start(self) -> asyncio.Task[None]:
        """Begin to empty the mailbox; the task ends when the connection has been closed."""
        self._pump = asyncio.create_task(self._empty(), name="asgi connection")
        return self._pump

    async def _empty(self) -> None:
        while True:
            await self._something_to_do.wait()
            self._something_to_do.clear()
            while (bundle := self._mailbox.take()) is not None:
                await self._send_bundle(bundle)
                self._sent += bundle.size
                self._ease()
            if self._closing is not None:
                await self._send_close(*self._closing)
                return

    async def _send_bundle(self, bundle: Bundle) -> None:
        for message in bundle.messages:
            await self._send({"type": "websocket.send", "text": message.decode()})

    async def _send_close(self, code: int, reason: str) -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    def _ease(self) -> None:
        if self.congested and self.conversation is not None and not self._mailbox:
            self.congested = False
            self.conversation.drained()


async def serve_websocket(scope: Scope, receive: Receive, send: Send, reception: Reception) -> None:
    """Carry one WebSocket from its handshake to its end."""
    await receive()  # websocket.connect
    judged = judge(query_of(scope), headers_of(scope), reception)
    if isinstance(judged, Refused):
        await _refuse(scope, send, judged)
        return
    await send({"type": "websocket.accept"})
    connection = AsgiConnection(send, reception)
    try:
        conversation = reception.connect(connection, judged.channels, judged.since)
    except LogUnavailable as error:  # it was ready when the handshake began
        await send({"type": "websocket.close", "code": 1013, "reason": str(error)})
        return
    connection.conversation = conversation
    tasks = {
        connection.start(),
        asyncio.create_task(_read(receive, conversation, connection, reception.settings.message_bytes)),
    }
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        conversation.closed()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers of a request, their names in lower case; of one that comes twice the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def query_of(scope: Scope) -> str:
    """Return the query of a request."""
    query: bytes = scope.get("query_string", b"")
    return query.decode("latin-1")


def refusal_headers(refused: Refused) -> list[tuple[bytes, bytes]]:
    """Return `headers_of_refusal` as ASGI wants them."""
    return [(k.lower().encode(), v.encode()) for k, v in headers_of_refusal(refused).items()]


async def _read(
    receive: Receive, conversation: Conversation, connection: AsgiConnection, longest: int
) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        text: str | None = message.get("text")
        if text is None:
            connection.close(1003, "text only")
        elif len(text.encode()) > longest:
            connection.close(1009, "message too long")
        else:
            conversation.received(text)


async def _refuse(scope: Scope, send: Send, refused: Refused) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": refused.reason[:120]})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *refusal_headers(refused)]
    await send({"type": "websocket.http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": refused.reason.encode() + b"\n"})


async def answer_http(
    send: Send,
    status: int,
    body: str,
    content_type: str = "text/plain; charset=utf-8",
    more: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Send one whole HTTP response."""
    payload = body.encode()
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(payload)).encode()),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})
