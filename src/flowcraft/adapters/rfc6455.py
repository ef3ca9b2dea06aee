"""The server's side of the WebSocket protocol, version 13 (RFC 6455), without input and output.

Only what one carrier needs: no subprotocols, no binary messages, no extension but compression. Bytes in,
values out; what a peer does wrong is a `ProtocolError` with the close code that the RFC names for it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from flowcraft.adapters import deflate
from flowcraft.adapters.handshake import Refused

_ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_UPGRADE = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
_CONTROL_BYTES = 125
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_RSV, _RSV1 = 0x70, 0x40
_PRIVATE_CODES = range(3000, 5000)
_KNOWN_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})


class ProtocolError(Exception):
    """A peer broke the protocol. `code` is what to close with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def upgrade(headers: Mapping[str, str], extensions: str = "") -> bytes | Refused:
    """Return the response that makes a GET a WebSocket (RFC 6455 §4.2), with the extensions agreed on."""
    if "websocket" not in _tokens(headers, "upgrade") or "upgrade" not in _tokens(headers, "connection"):
        return Refused(426, "upgrade required: this is a WebSocket", _UPGRADE)
    if headers.get("sec-websocket-version") != "13":
        return Refused(426, "upgrade required: expected version 13 of the WebSocket protocol", _UPGRADE)
    key = headers.get("sec-websocket-key", "")
    try:
        is_key = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        is_key = False
    if not is_key:
        return Refused(400, "bad request: Sec-WebSocket-Key is not 16 bytes in base64")
    accept = base64.b64encode(hashlib.sha1(key.encode() + _ACCEPT, usedforsecurity=False).digest())
    more = f"Sec-WebSocket-Extensions: {extensions}\r\n".encode() if extensions else b""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accept, more)
    )


def _tokens(headers: Mapping[str, str], name: str) -> set[str]:
    return {token.strip().lower() for token in headers.get(name, "").split(",")}


@dataclass(frozen=True, slots=True)
class Message:
    """A text message, whole."""

    text: str


@dataclass(frozen=True, slots=True)
class Ping:
    """To be answered by a pong with the same payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """An answer to a ping, or a sign of life by itself."""


@dataclass(frozen=True, slots=True)
class CloseFrame:
    """The peer's last word; to be answered by the same code. 1005 stands for none."""

    code: int


Received: TypeAlias = Message | Ping | Pong | CloseFrame


@dataclass(slots=True)
class FrameReader:
    """Makes messages of the bytes that a client sends (RFC 6455 §5); between frames it holds nothing."""

    max_bytes: int
    """The longest message; may be changed between messages."""
    max_fragments: int
    deflates: bool = False
    """Whether compression was agreed on."""
    _rest: bytearray | None = None
    _needed: int = 2
    _fragments: list[bytes] = field(default_factory=list[bytes])
    _size: int = 0
    _is_deflated: bool = False

    @property
    def is_between_messages(self) -> bool:
        """Whether it holds nothing."""
        return self._rest is None and not self._fragments

    def feed(self, data: bytes) -> Iterator[Received]:
        """Yield what has arrived whole.

        Raises:
            ProtocolError: the peer broke the protocol; nothing more is to be read of it.
        """
        if self._rest is not None:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
        at, there = 0, len(data)
        while there - at >= self._needed:
            begin, length = self._head(data, at)
            end = begin + length
            if begin < 0 or there < end:
                break
            payload = _unmask(data[begin:end], data[begin - 4 : begin])
            first, at, self._needed = data[at], end, 2
            received = self._frame(first, payload)
            if received is not None:
                yield received
        if at < there:
            if self._rest is None or at:
                self._rest = bytearray(data[at:])
        else:
            self._rest = None

    def _head(self, data: bytes | bytearray, at: int) -> tuple[int, int]:
        """Return where a frame's payload begins, negative if that cannot be told yet, and its length."""
        first, second = data[at], data[at + 1]
        _check_head(first, second, self.deflates)
        length, begin = second & 0x7F, at + 6
        if length > _CONTROL_BYTES:
            size = 2 if length == 126 else 8
            begin += size
            if len(data) < at + 2 + size:
                self._needed = 2 + size
                return -1, 0
            length = int.from_bytes(data[at + 2 : at + 2 + size], "big")
        if first & 0x8 == 0 and self._size + length > self.max_bytes:
            raise ProtocolError(1009, f"at most {self.max_bytes} bytes a message")
        self._needed = begin - at + length
        return begin, length

    def _frame(self, first: int, payload: bytes) -> Received | None:
        match first & 0xF:
            case 0x1 | 0x0:
                return self._text(first, payload)
            case 0x9:
                return Ping(payload)
            case 0xA:
                return Pong()
            case _:
                return _read_close(payload)

    def _text(self, first: int, payload: bytes) -> Message | None:
        continues, is_last = first & 0xF == _CONTINUATION, first & 0x80
        if continues != bool(self._fragments):
            raise ProtocolError(1002, "a fragment that continues nothing, or a message within a message")
        if not continues:
            self._is_deflated = bool(first & _RSV1)
        if is_last and not continues:
            return self._message(payload)
        self._fragments.append(payload)
        self._size += len(payload)
        if len(self._fragments) > self.max_fragments:
            raise ProtocolError(1009, f"at most {self.max_fragments} fragments a message")
        if not is_last:
            return None
        whole, self._fragments, self._size = b"".join(self._fragments), [], 0
        return self._message(whole)

    def _message(self, payload: bytes) -> Message:
        if self._is_deflated:
            try:
                payload = deflate.inflate(payload, self.max_bytes)
            except deflate.TooLong:
                raise ProtocolError(1009, f"at most {self.max_bytes} bytes a message") from None
            except deflate.NotDeflated:
                raise ProtocolError(1007, "not compressed as it says") from None
        try:
            return Message(payload.decode())
        except UnicodeDecodeError:
            raise ProtocolError(1007, "not UTF-8") from None


def frame(payload: bytes, first: int = 0x80 | _TEXT) -> bytes:
    """Return one unmasked frame (§5.2); `first` is its first byte."""
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 65536:
        return bytes((first, 0x7E)) + length.to_bytes(2, "big") + payload
    return bytes((first, 0x7F)) + length.to_bytes(8, "big") + payload


def _control(opcode: int, payload: bytes) -> bytes:
    return frame(payload, 0x80 | opcode)


PING = _control(_PING, b"")


def pong(payload: bytes) -> bytes:
    """Return the answer to a ping."""
    return _control(_PONG, payload)


def close(code: int, reason: str = "") -> bytes:
    """Return a close frame; its reason is cut to what fits."""
    if code == 1005:
        return _control(_CLOSE, b"")
    text = reason.encode()[: _CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return _control(_CLOSE, code.to_bytes(2, "big") + text)


def _check_head(first: int, second: int, deflates: bool) -> None:
    opcode = first & 0xF
    if first & _RSV and not (deflates and first & _RSV == _RSV1 and opcode in (_TEXT, _BINARY)):
        raise ProtocolError(1002, "reserved bits are set that no extension was agreed on for")
    if opcode not in (_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG):
        raise ProtocolError(1002, "an opcode that is not defined")
    if not second & 0x80:
        raise ProtocolError(1002, "a client masks its frames")
    if opcode & 0x8 and (not first & 0x80 or second & 0x7F > _CONTROL_BYTES):
        raise ProtocolError(1002, "a control frame is whole and has at most 125 bytes")
    if opcode == _BINARY:
        raise ProtocolError(1003, "text only")


def _unmask(payload: bytes | bytearray, mask: bytes | bytearray) -> bytes:
    length = len(payload)
    key = int.from_bytes((bytes(mask) * (length // 4 + 1))[:length], "little")
    return (int.from_bytes(payload, "little") ^ key).to_bytes(length, "little")


def _read_close(payload: bytes) -> CloseFrame:
    if not payload:
        return CloseFrame(1005)
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or (code not in _KNOWN_CODES and code not in _PRIVATE_CODES):
        raise ProtocolError(1002, "a close code that must not be sent")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolError(1007, "not UTF-8") from None
    return CloseFrame(code)


def text_frames(messages: Sequence[bytes]) -> bytes:
    """Return messages as text frames; a `flowcraft.core.bundles.Framing`."""
    return b"".join(map(frame, messages))


def deflated_text_frames(messages: Sequence[bytes]) -> bytes:
    """Return the same where compression was agreed on: long messages are deflated (RFC 7692 §7.2.1)."""
    return b"".join(map(_deflated_frame, messages))


def _deflated_frame(message: bytes) -> bytes:
    if len(message) < deflate.FROM_BYTES:
        return frame(message)
    return frame(deflate.deflate(message), 0x80 | _RSV1 | _TEXT)
