"""uvicorn: write frames to the socket of a WebSocket that uvicorn has accepted, without ASGI messages.

uvicorn has no interface for this, so every use of its internals is checked at run time. In another server, or
a version of uvicorn with other internals, ASGI messages are sent instead: correct, at a third of the speed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from flowcraft.adapters.input_slices import InputSlices
from flowcraft.adapters.pinged_socket import TOO_MUCH, PingedSocket
from flowcraft.adapters.sockets import text_frames
from flowcraft.carrier_ports import Entrance, GatewayPort, NodePort

_CLOSING_SECONDS = 1.0
"""A client that has not completed the closing handshake after this time is disconnected."""
_KEY = b"sec-websocket-key"


class UvicornSocket:
    """One WebSocket in uvicorn: its protocol, and the state machine of its WebSocket library."""

    def __init__(self, protocol: Any) -> None:  # noqa: ANN401  # one of three classes, in many versions
        self.protocol = protocol
        self.machine = _machine(protocol)

    @classmethod
    def find(cls, scope: Mapping[str, Any], send: object) -> UvicornSocket | None:
        """Return the socket of a request if it is uvicorn's and the handshake has not been answered yet."""
        for protocol in _candidates(send):
            with suppress(AttributeError, TypeError, KeyError):
                key = _key(scope)
                if key is not None and key == _key(protocol.scope) and _state(protocol) == "CONNECTING":
                    return cls(protocol)
        return None

    async def is_accepted(self) -> bool:
        """Return whether uvicorn has answered `websocket.accept` with 101."""
        protocol = self.protocol
        try:
            if _state(protocol) == "CONNECTING":  # the class on the legacy websockets answers in its own task
                await protocol.handshake_completed_event.wait()
            transport = protocol.transport
            return (
                _state(protocol) == "OPEN"
                and transport.get_protocol() is protocol
                and not transport.is_closing()
                and callable(protocol.shutdown)
            )
        except (AttributeError, TypeError):
            return False

    def call_on_shutdown(self, drain: Callable[[float | None], None]) -> None:
        """Have uvicorn's shutdown call `drain` instead of closing this WebSocket with 1012 at once.

        uvicorn then waits for the WebSocket to end. `drain` gets half of its `timeout_graceful_shutdown`; the
        other half is for closing handshakes.
        """
        seconds = _drain_seconds(getattr(self.protocol, "config", None))
        self.protocol.shutdown = lambda: drain(seconds)

    def release_shutdown(self) -> None:
        """Undo `call_on_shutdown`."""
        with suppress(AttributeError):
            del self.protocol.shutdown


class _WatchedTransport:
    """The transport that uvicorn's protocol has; `written` is called after each of its writes."""

    def __init__(self, transport: asyncio.Transport, written: Callable[[], object]) -> None:
        self.transport = transport
        self._written = written

    def write(self, data: bytes) -> None:
        """Write; the state of the WebSocket is the new one already."""
        self.transport.write(data)
        self._written()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # the transport's
        return getattr(self.transport, name)


@dataclass(frozen=True, slots=True)
class StoppingServer:
    """uvicorn's server, found by its signal handler, which is a method of it."""

    should_exit: bool
    """Whether it has been asked to stop: it then waits until all responses and WebSockets end."""
    drain_seconds: float | None
    """The time for a drain: half of its `timeout_graceful_shutdown`, if that is set."""

    @classmethod
    def of(cls, handler: object) -> StoppingServer | None:
        """Return the server of a handler; None if the handler is another server's."""
        server = getattr(handler, "__self__", None)
        should_exit = getattr(server, "should_exit", None)
        if not isinstance(should_exit, bool):
            return None
        return cls(should_exit, _drain_seconds(getattr(server, "config", None)))


class DirectConnection(PingedSocket):
    """A WebSocket that uvicorn reads and closes, and this class writes to; a `carrier_ports.Connection`.

    The connection stands between the transport and uvicorn's protocol, to which it passes what arrives.
    uvicorn writes whole frames (pongs, pings, a close) to the same transport; so bytes go to the file
    descriptor only while none wait in the transport.
    """

    def __init__(
        self,
        node: NodePort,
        socket: UvicornSocket,
        send_close: Callable[[int, str], Awaitable[None]],
    ) -> None:
        super().__init__(node, text_frames)
        self._protocol, self._machine = socket.protocol, socket.machine
        self._open_state: object = socket.machine.state
        self.send_close = send_close
        self._closing: asyncio.Task[None] | None = None
        self._input = InputSlices(socket.protocol)

    def begin(self) -> None:
        """Become the protocol of the transport, before uvicorn's."""
        transport = cast(asyncio.Transport, self._protocol.transport)
        transport.set_protocol(self)
        self._protocol.transport = _WatchedTransport(transport, self._stop_if_closed)
        self.connection_made(transport)
        self._begin_sending(transport)

    def connect(self, channels: Sequence[str], since: str | None, entrance: Entrance) -> GatewayPort:
        """Connect to the node.

        Raises:
            LogUnavailable: see `NodePort.connect`.
        """
        self._gateway = self._node.connect(self, channels, since, entrance)
        return self._gateway

    async def end(self) -> None:
        """Stop writing and release everything; what arrives still goes to uvicorn's protocol."""
        self._stop_sending()
        self._unwatch()
        self._gateway = None
        if self._closing is not None:
            self._closing.cancel()
            await asyncio.wait({self._closing})

    # asyncio's side

    def data_received(self, data: bytes) -> None:
        self._is_alive()
        waited = self.waiting_bytes
        self._input.take(data, self._transport)
        if self.waiting_bytes > max(waited, self._settings.outbox_bytes):
            # uvicorn answers each ping at once, also those of a client that reads no answer.
            self._abort()

    def eof_received(self) -> bool | None:
        self._stop_sending()
        self._input.finish()
        keeps_open: bool | None = self._protocol.eof_received()
        return keeps_open

    def pause_writing(self) -> None:
        super().pause_writing()
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)
        self._protocol.connection_lost(exc)

    def _unwatch(self) -> None:
        """Give uvicorn's protocol its own transport again: the other one refers to this."""
        watched = self._protocol.transport
        if isinstance(watched, _WatchedTransport):
            self._protocol.transport = watched.transport

    def _stop_if_closed(self) -> bool:
        """Write nothing more once uvicorn has written a close; return whether it has."""
        is_closed = self._machine.state is not self._open_state
        if is_closed:
            self._stop()
        return is_closed

    # the node's side

    def try_send(self, data: bytes) -> int:
        # Not by `super`: that lookup would be made for every recipient of every event.
        return 0 if self._stop_if_closed() else PingedSocket.try_send(self, data)

    def ping(self) -> None:
        if not self._stop_if_closed():
            super().ping()

    @property
    def is_closing(self) -> bool:
        """Whether this side has closed: messages that still arrive are ignored."""
        return self._open is None

    def close(self, code: int, reason: str, rest: bytes = b"") -> None:
        if self._open is None:
            return
        is_open = self._machine.state is self._open_state
        if code == TOO_MUCH:
            self._input.stop()
        if is_open and rest:
            self._open.write(rest)
        self._stop()
        if is_open:
            self._closing = asyncio.ensure_future(self.send_close(code, reason))

    # for both

    def _stop(self) -> None:
        """Stop writing because the WebSocket closes, and disconnect a client that does not answer in time."""
        if self._open is not None:
            self._stop_sending()
            self._end_within(_CLOSING_SECONDS)

    def _no_pong(self, pinged_at: int, waiting: int) -> None:
        transport = self._open
        if transport is not None and not transport.is_reading():
            # The application does not read, so no pong can arrive.
            self._await_pong(pinged_at)
        else:
            super()._no_pong(pinged_at, waiting)


def _drain_seconds(config: object) -> float | None:
    limit: float | None = getattr(config, "timeout_graceful_shutdown", None)
    return None if limit is None else limit / 2


def _candidates(send: object) -> Iterator[Any]:
    """Yield what may be uvicorn's protocol: the owner of `send`, or of the task's coroutine."""
    yield getattr(send, "__self__", None)
    task = asyncio.current_task()
    frame = None if task is None else getattr(task.get_coro(), "cr_frame", None)
    if frame is not None:
        yield frame.f_locals.get("self")


def _machine(protocol: Any) -> Any:  # noqa: ANN401
    """Return the object with the state: `conn` of a Sans-I/O library, or legacy websockets' protocol."""
    return getattr(protocol, "conn", protocol)


def _state(protocol: Any) -> str:  # noqa: ANN401
    name: str = _machine(protocol).state.name
    return name


def _key(scope: Mapping[str, Any]) -> bytes | None:
    """Return the Sec-WebSocket-Key. It identifies a handshake, also where middleware copied the scope."""
    keys: list[bytes] = [value for name, value in scope["headers"] if name.lower() == _KEY]
    return keys[0] if len(keys) == 1 else None
