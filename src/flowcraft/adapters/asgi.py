"""ASGI: WebSockets of a node in any ASGI server (https://asgi.readthedocs.io/en/latest/specs/www.html)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

from flowcraft.adapters.cors import answer_headers, options
from flowcraft.adapters.handshake import MALFORMED_HOST, Admitted, Refused, admit, handshake_of, join_fields
from flowcraft.adapters.host_limits import host_limits
from flowcraft.adapters.http import FIELDS, HEAD_BYTES, NO_CONTENT, TEXT, Target, head_too_large, parse_target
from flowcraft.adapters.input_slices import SlicedProtocol
from flowcraft.adapters.pinged_socket import TOO_MUCH
from flowcraft.adapters.shared_sender import SharedSender, shared_sender
from flowcraft.adapters.sockets import address_text
from flowcraft.adapters.uvicorn import DirectConnection, UvicornSocket
from flowcraft.carrier_ports import Entrance, GatewayPort, NodePort
from flowcraft.core.bundles import Framing
from flowcraft.errors import LogUnavailable
from flowcraft.origins import is_authority
from flowcraft.settings import Settings
from flowcraft.viewers import Handshake

logger = logging.getLogger(__name__)

# The specification defines scopes and events as dictionaries whose members depend on their type.
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
# Any: each framework annotates these three differently, and every one must be accepted.
AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

_CLOSING_SECONDS = 1.0
"""A client that has not read the last messages after this time is disconnected."""
_FIRST_CODE_OF_APPLICATIONS = 3000
_MESSAGES_PER_TURN = 16
"""Messages of one client between two turns of everything else in the event loop."""
_RECORD_SEPARATOR = b"\x1e"


def json_sequence(messages: Sequence[bytes]) -> bytes:
    """Return messages joined by a byte that no JSON text contains (RFC 7464 §2.2); a `Framing`."""
    return _RECORD_SEPARATOR.join(messages)


def split_sequence(data: bytes) -> list[bytes]:
    """Return the messages that `json_sequence` joined."""
    return data.split(_RECORD_SEPARATOR) if data else []


class AsgiConnection:
    """A WebSocket of an ASGI server, written to by one task at a time; a `carrier_ports.Connection`."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.send = send
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._closing: tuple[int, str] | None = None
        self._sender: SharedSender | None = None
        self._is_added = False
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waits = False
        self.sending: asyncio.Task[None] | None = None
        self.framing: Framing = json_sequence
        self.address = address_text(scope.get("client"))
        self._deadline: asyncio.TimerHandle | None = None
        self.gateway: GatewayPort | None = None
        self.input: SlicedProtocol | None = None
        """What reads the socket before uvicorn does."""

    def try_send(self, data: bytes) -> int:
        if self._closing is not None:
            return 0
        self._chunks.append(data)
        self._waiting = len(data)
        self._send_soon()
        return self._waiting

    @property
    def waiting_bytes(self) -> int:
        return self._waiting

    def ping(self) -> None:
        """Do nothing: ASGI has no ping; the ASGI server sends its own."""

    def close(self, code: int, reason: str, rest: bytes = b"") -> None:
        if self._closing is not None:
            return
        if rest:
            self._chunks.append(rest)
        if code == TOO_MUCH and self.input is not None:
            self.input.stop(_CLOSING_SECONDS)
        self._closing = (code, reason)
        self._send_soon()

    @property
    def is_direct(self) -> bool:
        return False

    @property
    def is_closing(self) -> bool:
        """Whether this side has closed: messages that still arrive are ignored."""
        return self._closing is not None

    def start(self) -> asyncio.Future[None]:
        """Start to send; the result is there when the connection is closed, or cannot be written to."""
        self._sender = shared_sender()
        self._send_soon()
        return self._closed

    def _send_soon(self) -> None:
        if self._sender is None:
            return
        if self._closing is not None and self._deadline is None:  # the client may never read
            self._deadline = asyncio.get_running_loop().call_later(_CLOSING_SECONDS, self._closed.cancel)
        if not self._is_added:
            self._is_added = True
            self._sender.add(self)

    async def ended(self) -> None:
        """Stop to send, and release everything: the connection and its gateway refer to each other."""
        gateway, self.gateway, self._sender = self.gateway, None, None
        if self._deadline is not None:
            self._deadline.cancel()
        self._chunks.clear()
        if gateway is not None:
            gateway.closed()
        if self._is_added and self.sending is None:
            await asyncio.sleep(0)  # a task that waits is left to this connection in the next turn
        await end_tasks({self._closed} if self.sending is None else {self._closed, self.sending})

    async def send_all(self) -> None:
        try:
            while self._sender is not None and (self._chunks or self._closing is not None):
                while self._chunks:
                    await self._send_chunk(self._chunks.popleft())
                if self._closing is not None:
                    await self._send_close(*self._closing)
                    self._end()
                    return
                self._waiting = 0
                if self.gateway is not None:
                    self.gateway.writable()
            self._is_added = False
        except Exception as error:  # noqa: BLE001  # of any server's own type
            logger.info("sending to %s failed, and ends the connection: %r", self.address, error)
            with suppress(Exception):  # most servers close what an application leaves; Daphne does not
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await self._send_close(1011, "internal error: the server cannot send")
            self._end()
        finally:
            self.sending = None

    def _end(self) -> None:
        if not self._closed.done():
            self._closed.set_result(None)

    async def _send_chunk(self, chunk: bytes) -> None:
        for message in split_sequence(chunk):
            await self.send({"type": "websocket.send", "text": message.decode()})

    async def _send_close(self, code: int, reason: str) -> None:
        await _send_close(self.send, code, reason)


async def serve_websocket(
    scope: Scope, receive: Receive, send: Send, node: NodePort, *, direct: bool = True
) -> None:
    """Serve one WebSocket from its handshake to its end; `direct` through uvicorn's socket if it is found."""
    await receive()  # websocket.connect
    headers = headers_of(scope)
    admitted = check_head(scope, headers) or admit(
        query_of(scope), headers, node, address_text(scope.get("client"))
    )
    if isinstance(admitted, Refused):
        await _refuse(scope, send, admitted, answer_headers(headers, node.settings))
        return
    entrance = Entrance(partial(request_of, scope, admitted.address, node.settings), "later")
    found = UvicornSocket.find(scope, send)
    host_limits.set(send, node.settings.message_bytes)
    await send({"type": "websocket.accept"})
    if found is None or not await found.is_accepted():
        await _carry_by_messages(AsgiConnection(scope, send), receive, node, admitted, entrance)
        return
    found.call_on_shutdown(node.begin_drain)
    try:
        if direct and not node.settings.compress:  # frames are compressed by uvicorn
            direct_connection = DirectConnection(node, found, partial(_send_close, send))
            await _carry_directly(direct_connection, receive, admitted, entrance)
        else:
            connection = AsgiConnection(scope, send)
            connection.input = SlicedProtocol(found.protocol)
            await _carry_by_messages(connection, receive, node, admitted, entrance)
    finally:
        found.release_shutdown()


async def _carry_by_messages(
    connection: AsgiConnection, receive: Receive, node: NodePort, admitted: Admitted, entrance: Entrance
) -> None:
    connection.address = admitted.address
    sending = connection.start()
    try:
        gateway = connection.gateway = node.connect(connection, admitted.channels, admitted.since, entrance)
    except LogUnavailable as error:  # the node was ready when the handshake began
        connection.close(1013, str(error))
        await end_tasks({sending}, cancel=False)
        return
    reading = asyncio.create_task(_read(receive, gateway, connection))
    try:
        await asyncio.wait({sending, reading}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await connection.ended()
        await end_tasks({reading})


async def _carry_directly(
    connection: DirectConnection, receive: Receive, admitted: Admitted, entrance: Entrance
) -> None:
    connection.begin()
    connection.client = admitted.address
    try:
        gateway = connection.connect(admitted.channels, admitted.since, entrance)
    except LogUnavailable as error:
        await connection.send_close(1013, str(error))
        return
    try:
        await _read(receive, gateway, connection)
    finally:
        gateway.closed()
        await connection.end()


async def _send_close(send: Send, code: int, reason: str) -> None:
    message = {"type": "websocket.close", "code": code, "reason": reason}
    try:
        await send(message)
    except Exception:
        if code >= _FIRST_CODE_OF_APPLICATIONS:
            raise
        await send({**message, "code": 1000})  # Daphne allows an application no other code below 3000


async def end_tasks(tasks: AbstractSet[asyncio.Future[None]], *, cancel: bool = True) -> None:
    """Cancel tasks and wait until they have ended, with whatever result.

    Not by `gather`, which loses the message of a cancellation: anyio recognizes its own by it.
    """
    for task in tasks:
        if cancel:
            task.cancel()
    for task in (await asyncio.wait(tasks))[0]:
        if not task.cancelled():
            task.exception()


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers of a request, their names in lower case, repeated ones joined (RFC 9110 §5.3).

    The host of a target in absolute form counts instead of Host (RFC 9112 §3.2.2).
    """
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        value = raw_value.decode("latin-1").strip(" \t")  # httptools leaves some (RFC 9110 §5.5)
        join_fields(headers, raw_name.decode("latin-1").lower(), value)
    target = _absolute_target(scope)
    if target is not None and target.authority is not None:
        headers["host"] = target.authority
    return headers


def query_of(scope: Scope) -> str:
    """Return the query of a request."""
    query: bytes = scope.get("query_string", b"")
    return query.decode("latin-1")


def path_of(scope: Scope) -> str:
    """Return the path of a request, also of a target in absolute form."""
    target = _absolute_target(scope)
    path: str = scope["path"] if target is None else target.path
    return path


def _absolute_target(scope: Scope) -> Target | None:
    """Return the target that some servers leave in absolute form; None if it is in another."""
    path: str = scope["path"]
    target = None if path.startswith("/") else parse_target(path)
    return None if isinstance(target, Refused) else target


def request_of(scope: Scope, address: str, settings: Settings) -> Handshake:
    """Return an admitted request for the authorizer."""
    return handshake_of(path_of(scope), headers_of(scope), address, settings)


def check_head(scope: Scope, headers: Mapping[str, str]) -> Refused | None:
    """Return why a request is refused by its head, as the dedicated server would; None if it is not."""
    fields: Sequence[tuple[bytes, bytes]] = scope["headers"]
    target = len(scope.get("raw_path") or scope["path"]) + len(scope.get("query_string", b""))
    size = target + sum(len(name) + len(value) + len(": \r\n") for name, value in fields)
    if size > HEAD_BYTES or len(fields) > FIELDS:
        return head_too_large()
    if not is_authority(headers.get("host", "[" if scope.get("http_version") == "1.1" else "")):
        return MALFORMED_HOST
    return None


async def _read(
    receive: Receive, gateway: GatewayPort, connection: AsgiConnection | DirectConnection
) -> None:
    taken = 0
    while _process(await receive(), gateway, connection):
        taken += 1
        if taken % _MESSAGES_PER_TURN == 0:  # `receive` does not wait while the server has more
            await asyncio.sleep(0)


def _process(
    message: MutableMapping[str, Any], gateway: GatewayPort, connection: AsgiConnection | DirectConnection
) -> bool:
    """Process a message; return False after the last.

    This is a function of its own so that no local variable keeps a message until the next arrives.
    """
    if message["type"] == "websocket.disconnect":
        return False
    text: str | None = message.get("text")
    if connection.is_closing:
        return True
    if text is None:
        connection.close(1003, "unsupported data: expected text")
    elif len(text.encode()) > gateway.message_bytes:
        connection.close(1009, f"message too big: at most {gateway.message_bytes} bytes")
    else:
        gateway.received(text)
    return True


async def _refuse(scope: Scope, send: Send, refused: Refused, headers: Mapping[str, str]) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": refused.reason[:120]})
        return
    fields = encoded({"Content-Type": TEXT, **headers, **refused.headers})
    await send({"type": "websocket.http.response.start", "status": refused.status, "headers": fields})
    await send({"type": "websocket.http.response.body", "body": refused.reason.encode() + b"\n"})


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI wants them."""
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


async def answer_http(
    send: Send,
    status: int,
    body: str,
    content_type: str = TEXT,
    headers: Mapping[str, str] | None = None,
    *,
    is_head: bool = False,
) -> None:
    """Send one whole HTTP response; `is_head`: it answers HEAD."""
    payload = body.encode()
    content = {"Content-Type": content_type, "Content-Length": str(len(payload))}
    fields = encoded(({} if status == NO_CONTENT else content) | dict(headers or {}))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b"" if is_head else payload})


async def answer_request(
    scope: Scope,
    send: Send,
    answer: tuple[int, str, str] | Refused,
    settings: Settings,
    more: Mapping[str, str] | None = None,
) -> None:
    """Answer a request with status, content type and body, or with why it is refused."""
    headers = answer_headers(headers_of(scope), settings) | dict(more or {})
    if isinstance(answer, Refused):
        headers |= answer.headers
        if not scope.get("http_version", "1.1").startswith("1"):
            headers.pop("Upgrade", None)  # forbidden in HTTP/2 (RFC 9113 §8.2.2)
        answer = (answer.status, TEXT, answer.reason + "\n")
    status, content_type, body = answer
    await answer_http(send, status, body, content_type, headers, is_head=scope["method"] == "HEAD")


async def answer_options(scope: Scope, send: Send, methods: Sequence[str], settings: Settings) -> None:
    """Answer OPTIONS, which may be the preflight of a page."""
    answer = options(headers_of(scope), methods, settings)
    if isinstance(answer, Refused):
        await answer_request(scope, send, answer, settings)
    else:
        await answer_http(send, NO_CONTENT, "", headers=answer)
