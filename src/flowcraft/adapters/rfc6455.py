"""RFC 6455: the server's side of the WebSocket protocol, version 13, without input and output.

Only what one carrier needs: no subprotocols, no binary messages, no extension but compression. Bytes go in,
values come out; a client's violation is a `ProtocolError` with the close code that the RFC names for it. The
frames of messages, which every event passes, are in `sockets`.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from flowcraft.adapters import deflate
from flowcraft.adapters.handshake import Refused

_ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""The GUID of §1.3, which every server appends to the key."""
_UPGRADE = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
UPGRADE_REQUIRED = Refused(
    426, "upgrade required: expected a WebSocket handshake, GET in HTTP/1.1 with its Upgrade field", _UPGRADE
)
"""The answer to another request at a WebSocket's path: often a proxy did not pass Upgrade on."""
_CONTROL_BYTES = 125
"""The longest payload of a control frame (§5.5), and the longest length in one byte (§5.2)."""
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_RSV, _RSV1 = 0x70, 0x40
_PRIVATE_CODES = range(3000, 5000)
"""Close codes of libraries and applications (§7.4.2)."""
_KNOWN_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
"""Close codes that may be in a frame (§7.4.1 and the IANA registry): not 1004, 1005, 1006 and 1015."""


class ProtocolError(Exception):
    """The client violated the protocol; `code` is the close code to answer with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def upgrade(headers: Mapping[str, str], extensions: str = "") -> bytes | Refused:
    """Return the response that accepts a handshake (RFC 6455 §4.2.2), or why it is refused."""
    if not _is_upgrade(headers.get("upgrade", ""), headers.get("connection", "")):
        return UPGRADE_REQUIRED
    if headers.get("sec-websocket-version") != "13":
        return Refused(426, "upgrade required: expected Sec-WebSocket-Version 13", _UPGRADE)
    key = headers.get("sec-websocket-key", "")
    try:
        is_key = len(binascii.a2b_base64(key, strict_mode=True)) == 16
    except (binascii.Error, ValueError):
        is_key = False
    if not is_key:
        return Refused(400, "bad request: malformed Sec-WebSocket-Key; expected 16 bytes in base64")
    digest = hashlib.sha1(key.encode() + _ACCEPT, usedforsecurity=False).digest()
    accept = binascii.b2a_base64(digest, newline=False)
    more = f"Sec-WebSocket-Extensions: {extensions}\r\n".encode() if extensions else b""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accept, more)
    )


@lru_cache(maxsize=64)  # browsers and proxies write the same few
def _is_upgrade(upgrade: str, connection: str) -> bool:
    return "websocket" in _tokens(upgrade) and "upgrade" in _tokens(connection)


def _tokens(value: str) -> list[str]:
    return [token.strip().lower() for token in value.split(",")]


@dataclass(frozen=True, slots=True)
class Message:
    """A whole text message."""

    text: str


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping frame; the answer is a pong frame with the same payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """A pong frame: the answer to a ping, or unsolicited."""


@dataclass(frozen=True, slots=True)
class CloseFrame:
    """A close frame; the answer is a close frame with the same code. 1005: the frame had no code."""

    code: int


Received: TypeAlias = Message | Ping | Pong | CloseFrame


@dataclass(slots=True)
class FrameReader:
    """Reads frames from the bytes that a client sends (RFC 6455 §5); between messages it holds nothing."""

    max_bytes: int
    """The longest message in bytes; may be changed between messages."""
    max_fragments: int
    """The most frames of one message."""
    deflates: bool = False
    """Whether permessage-deflate was negotiated."""
    _rest: bytearray | None = None
    _needed: int = 2
    _fragments: list[bytes] = field(default_factory=list[bytes])
    _size: int = 0
    _is_deflated: bool = False

    @property
    def is_between_messages(self) -> bool:
        """Whether no part of a message has arrived."""
        return self._rest is None and not self._fragments

    def feed(self, data: bytes) -> Iterator[Received]:
        """Yield the messages and control frames that are complete.

        Raises:
            ProtocolError: the client violated the protocol; read nothing more from it.
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
        """Return where a frame's payload begins, negative if its head is incomplete, and its length."""
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
            raise ProtocolError(1009, f"message too big: at most {self.max_bytes} bytes")
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
            expected = "expected a continuation frame" if self._fragments else "unexpected continuation frame"
            raise ProtocolError(1002, expected)
        if not continues:
            self._is_deflated = bool(first & _RSV1)
        if is_last and not continues:
            return self._message(payload)
        self._fragments.append(payload)
        self._size += len(payload)
        if len(self._fragments) > self.max_fragments:
            raise ProtocolError(1009, f"message too big: at most {self.max_fragments} fragments")
        if not is_last:
            return None
        whole, self._fragments, self._size = b"".join(self._fragments), [], 0
        return self._message(whole)

    def _message(self, payload: bytes) -> Message:
        if self._is_deflated:
            try:
                payload = deflate.inflate(payload, self.max_bytes)
            except deflate.TooLong:
                raise ProtocolError(1009, f"message too big: at most {self.max_bytes} bytes") from None
            except deflate.NotDeflated:
                raise ProtocolError(1007, "invalid payload data: not DEFLATE") from None
        try:
            return Message(payload.decode())
        except UnicodeDecodeError:
            raise ProtocolError(1007, "invalid payload data: not UTF-8") from None


def _control(opcode: int, payload: bytes) -> bytes:
    return bytes((0x80 | opcode, len(payload))) + payload


PING = _control(_PING, b"")


def pong(payload: bytes) -> bytes:
    """Return a pong frame."""
    return _control(_PONG, payload)


def close(code: int, reason: str = "") -> bytes:
    """Return a close frame; a reason of more than 123 bytes is cut."""
    if code == 1005:
        return _control(_CLOSE, b"")
    text = reason.encode()[: _CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return _control(_CLOSE, code.to_bytes(2, "big") + text)


def _check_head(first: int, second: int, deflates: bool) -> None:
    opcode = first & 0xF
    if first & _RSV and not (deflates and first & _RSV == _RSV1 and opcode in (_TEXT, _BINARY)):
        raise ProtocolError(1002, f"unexpected reserved bits {(first & _RSV) >> 4:03b}")
    if opcode not in (_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG):
        raise ProtocolError(1002, f"unknown opcode {opcode:#x}")
    if not second & 0x80:
        raise ProtocolError(1002, "unmasked frame from a client")
    if opcode & 0x8 and not first & 0x80:
        raise ProtocolError(1002, "fragmented control frame")
    if opcode & 0x8 and second & 0x7F > _CONTROL_BYTES:
        raise ProtocolError(1002, "control frame too long: at most 125 bytes")
    if opcode == _BINARY:
        raise ProtocolError(1003, "unsupported data: expected text")


def _unmask(payload: bytes | bytearray, mask: bytes | bytearray) -> bytes:
    # XOR of two large integers: 80 µs for 64 KiB, and 11 ms by a loop over the bytes.
    length = len(payload)
    key = int.from_bytes((bytes(mask) * (length // 4 + 1))[:length], "little")
    return (int.from_bytes(payload, "little") ^ key).to_bytes(length, "little")


def _read_close(payload: bytes) -> CloseFrame:
    if not payload:
        return CloseFrame(1005)
    if len(payload) < 2:
        raise ProtocolError(1002, "close frame too short: expected a code of 2 bytes")
    code = int.from_bytes(payload[:2], "big")
    if code not in _KNOWN_CODES and code not in _PRIVATE_CODES:
        raise ProtocolError(1002, f"invalid close code {code}")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolError(1007, "invalid payload data: not UTF-8") from None
    return CloseFrame(code)
