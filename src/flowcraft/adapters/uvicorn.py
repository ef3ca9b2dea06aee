"""uvicorn: the dedicated server's carrier on uvicorn's own port, as fast and as small as there.

    uvicorn.run("app:app", ws="flowcraft.adapters.uvicorn:WebSockets")

uvicorn gives away the socket of a request that wants to be a WebSocket. Where a node is known to serve its
path it becomes a connection of ours; all others get what uvicorn would have given them. A path is known once
its first WebSocket has come through the application, which may have mounted us anywhere. On shutdown clients
are sent away as `flowcraft serve` does it, with `bye`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from flowcraft.adapters.accept_queue import AcceptQueue
from flowcraft.adapters.websocket import WebSocketConnection
from flowcraft.ports import NodePort

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

Place: TypeAlias = tuple[object, str]
"""A port of this process, and a path on it."""


@dataclass(slots=True)
class _Served:
    node: NodePort
    drain: Callable[[], Awaitable[None]]
    accept_queue: AcceptQueue = field(default_factory=AcceptQueue)
    draining: asyncio.Future[None] | None = None

    def begin_to_drain(self) -> None:
        if self.draining is None:
            self.draining = asyncio.ensure_future(self.drain())


_served: dict[Place, _Served] = {}


def take_over(place: Place, node: NodePort, drain: Callable[[], Awaitable[None]]) -> None:
    """Have what comes to this place from now on; `drain` is called once when uvicorn shuts down."""
    known = _served.get(place)
    if known is None or known.node is not node:
        _served[place] = _Served(node, drain)


def give_back(node: NodePort) -> None:
    """Let go of all places of a node that has ended."""
    for place in [place for place, served in _served.items() if served.node is node]:
        del _served[place]


class WebSockets(asyncio.Protocol):
    """What uvicorn's `ws` takes: one for each request that wants to be a WebSocket."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        self._uvicorns = (config, server_state, app_state)
        # uvicorn's type lists its own protocols; it asks no more of one than `shutdown`.
        self._connections = cast(set[asyncio.Protocol], server_state.connections)
        self._transport: asyncio.BaseTransport | None = None
        self._served: _Served | None = None
        self._inner: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        inner = self._inner
        if inner is None:
            assert self._transport is not None
            inner = self._inner = self._choose(self._transport, data)
            inner.connection_made(self._transport)
        inner.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._inner is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def shutdown(self) -> None:
        """uvicorn ends."""
        if self._served is not None:
            self._served.begin_to_drain()

    def _choose(self, transport: asyncio.BaseTransport, head: bytes) -> asyncio.Protocol:
        served = _served.get((_port(transport), _path(head)))
        if served is None:
            from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

            return WebSocketsSansIOProtocol(*self._uvicorns)
        self._served = served
        self._connections.add(self)
        return WebSocketConnection(served.node, _path(head), lambda _: None, served.accept_queue)


def _port(transport: asyncio.BaseTransport) -> object:
    name: tuple[object, ...] | str = transport.get_extra_info("sockname")
    return name if isinstance(name, str) else name[1]


def _path(head: bytes) -> str:
    target = head.split(b" ", 2)[1] if head.count(b" ") > 1 else b""
    return target.partition(b"?")[0].decode("ascii", "replace")
