"""Sockets: frame messages once for all clients, write to clients without a copy or a task.

The kernel takes the bytes at once, or the gateway is notified when it takes more. An idle connection has no
buffer, no task and no timer.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Sequence

from flowcraft.adapters import deflate
from flowcraft.carrier_ports import GatewayPort, NodePort
from flowcraft.core.bundles import Framing
from flowcraft.fan_out import Target

NO_FD = -1
_HAS_DESCRIPTORS = sys.platform != "win32"
"""Whether the number of a socket is a file descriptor, which `os.write` takes."""
_SEND_BUFFER_BYTES = 256 * 1024
"""SO_SNDBUF: by default the kernel buffers several megabytes, which no outbox limit would see."""


class ClientSocket(asyncio.Protocol, Target):
    """The sending half of a `flowcraft.carrier_ports.Connection`; subclasses add `ping` and `close`."""

    # What most connections never change, and what is not read in a handshake, has its first value here.
    _has_limited_buffer: bool = False
    """Whether the listening socket had `limit_send_buffer`: each accepted one has its options."""
    _gateway: GatewayPort | None = None
    _transport: asyncio.Transport | None = None
    _socket: socket.socket | None = None
    """The socket whose descriptor may be written to; None with TLS, and on Windows."""
    _deadline: asyncio.TimerHandle | None = None
    _open: asyncio.Transport | None = None
    """The transport while messages may be sent, else None."""
    client: str = ""
    """The client's address where a trusted proxy names it; empty if it is the socket's."""
    _resumes: int = 0
    """How often the transport's buffer has been emptied."""

    def __init__(self, node: NodePort, framing: Framing) -> None:
        self._node = node
        self._settings = node.settings
        self.framing = framing
        self._first: list[bytes] | None = None
        """What is sent together, once the handshake ends; None after that."""

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's is no subclass of it
        self._transport = stream
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None and not self._has_limited_buffer:
            limit_send_buffer(raw)
        # Pause writing as soon as one byte waits. With TLS event loops compare by >=: 0 would always pause.
        encrypted = transport.get_extra_info("sslcontext") is not None
        if not encrypted and _HAS_DESCRIPTORS:
            self._socket = raw
        stream.set_write_buffer_limits(high=1 if encrypted else 0)

    def eof_received(self) -> bool | None:
        """Close: a client that has closed its sending side is gone."""
        return None

    def pause_writing(self) -> None:
        self.fd = NO_FD

    def resume_writing(self) -> None:
        self._resumes += 1
        if self._open is None:
            return
        self._use_descriptor()
        if self._gateway is not None:
            self._gateway.writable()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        if self._deadline is not None:
            self._deadline.cancel()
        self._transport = self._socket = None
        self._stop_sending()
        gateway, self._gateway = self._gateway, None  # connection and gateway refer to each other
        if gateway is not None:
            gateway.closed()

    # the gateway's side

    def try_send(self, data: bytes) -> int:
        """Send now; bytes that the kernel does not take wait in the transport.

        The transport is bypassed while nothing waits in it: `transport.write` takes 1.3 µs a message, and
        `os.write` 0.5. The descriptor stays valid until `connection_lost`, after which event loops close it.
        """
        if self.fd >= 0:
            try:
                taken = os.write(self.fd, data)
            except OSError:  # it would block, or is broken: the transport handles both
                taken = 0
            if taken == len(data):
                return 0
            data = data[taken:]
        transport = self._open
        if transport is None:
            return 0
        if self._first is not None:
            self._first.append(data)
            return 0
        transport.write(data)
        return transport.get_write_buffer_size()

    @property
    def is_direct(self) -> bool:
        return True

    @property
    def waiting_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def address(self) -> str:
        if self.client:
            return self.client
        name: object = None if self._transport is None else self._transport.get_extra_info("peername")
        return address_text(name)

    # for subclasses

    def _begin_sending(self, transport: asyncio.Transport) -> None:
        self._open = transport
        self._use_descriptor()

    def _gather(self, transport: asyncio.Transport, first: bytes) -> None:
        """Begin to send, but keep what is sent until `_send_gathered`: one packet for the client."""
        self._open, self._first = transport, [first]

    def _send_gathered(self) -> None:
        """Send what was gathered, and from now on at once; what waits is in no outbox."""
        first, self._first = self._first, None
        if first is not None and self._open is not None:
            self._use_descriptor()
            self.try_send(b"".join(first))

    def _stop_sending(self) -> None:
        self._open, self.fd = None, NO_FD

    def _use_descriptor(self) -> None:
        """Send straight to the descriptor, where that is possible: `flowcraft.fan_out.send_all`."""
        raw, transport = self._socket, self._open
        if raw is None or transport is None or transport.get_write_buffer_size():
            self.fd = NO_FD
        else:
            self.fd = raw.fileno()

    def _end_within(self, seconds: float) -> None:
        self._deadline = asyncio.get_running_loop().call_later(seconds, self._abort)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def limit_send_buffer(sock: socket.socket) -> None:
    """Have the kernel take no more than about an outbox holds; a listening socket passes this on."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)


def address_text(name: object) -> str:
    """Return a peer's name as `host:port`; empty for a Unix socket, whose client has none."""
    if isinstance(name, tuple | list) and len(name) >= 2:  # pyright: ignore[reportUnknownArgumentType]
        host, port = str(name[0]), str(name[1])  # pyright: ignore[reportUnknownArgumentType]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ""


def frame(payload: bytes, first: int = 0x81) -> bytes:
    """Return one unmasked frame of a WebSocket (RFC 6455 §5.2); `first` is its first byte: a whole text."""
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 65536:
        return bytes((first, 0x7E)) + length.to_bytes(2, "big") + payload
    return bytes((first, 0x7F)) + length.to_bytes(8, "big") + payload


def text_frames(messages: Sequence[bytes]) -> bytes:
    """Return messages as text frames; a `flowcraft.core.frames.Framing`."""
    return b"".join(map(frame, messages))


def deflated_text_frames(messages: Sequence[bytes]) -> bytes:
    """Return messages as text frames, long ones compressed (RFC 7692 §7.2.1); a `Framing`."""
    return b"".join(
        [
            frame(message) if len(message) < deflate.FROM_BYTES else frame(deflate.deflate(message), 0xC1)
            for message in messages
        ]
    )
