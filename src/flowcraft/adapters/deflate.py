"""Compression of WebSocket messages: permessage-deflate (RFC 7692) without context takeover.

Without context takeover one compressed message serves all connections, and an idle one has no window.
"""

from __future__ import annotations

import zlib

AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
"""The response to an offer that is accepted."""
FROM_BYTES = 512
"""The shortest message that is compressed: below, compression saves little and takes as much time."""
_WINDOW_BITS = 15
"""The largest window of DEFLATE, and the one of a client that negotiates none."""
_LEVEL = 6
"""zlib's default. Of a payload of 2.3 KB, level 1 leaves 652 bytes in 8 µs, 6 599 in 11, 9 596 in 13."""
_TAIL = b"\x00\x00\xff\xff"
"""The empty block at the end of each message, which is not sent (§7.2.1)."""
_FLAGS = frozenset({"server_no_context_takeover", "client_no_context_takeover"})


class TooLong(Exception):
    """A message exceeds the limit after decompression."""


class NotDeflated(Exception):
    """A payload is not a compressed message."""


def is_offered(extensions: str) -> bool:
    """Return whether `Sec-WebSocket-Extensions` of a client has an offer that `AGREED` may answer (§7.1)."""
    return any(_fits(*_parsed(offer)) for offer in extensions.split(","))


def deflate(message: bytes) -> bytes:
    """Return the compressed payload of a message (§7.2.1)."""
    deflater = zlib.compressobj(_LEVEL, wbits=-_WINDOW_BITS)
    return (deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)


def inflate(payload: bytes, max_bytes: int) -> bytes:
    """Return the message in a compressed payload (§7.2.2).

    Raises:
        TooLong: the message has more than `max_bytes` bytes.
        NotDeflated: the payload is not DEFLATE.
    """
    inflater = zlib.decompressobj(wbits=-_WINDOW_BITS)
    try:
        message = inflater.decompress(payload + _TAIL, max_bytes + 1)
    except zlib.error as error:
        raise NotDeflated(str(error)) from None
    if len(message) > max_bytes:
        raise TooLong
    return message


def _parsed(offer: str) -> tuple[str, list[tuple[str, str | None]]]:
    name, *parameters = (part.strip() for part in offer.split(";"))
    pairs = (parameter.partition("=") for parameter in parameters)
    return name.lower(), [
        (key.strip().lower(), value.strip(' "') if eq else None) for key, eq, value in pairs
    ]


def _fits(name: str, parameters: list[tuple[str, str | None]]) -> bool:
    names = [key for key, _ in parameters]
    if name != "permessage-deflate" or len(names) != len(set(names)):
        return False
    return all(_is_known(key, value) for key, value in parameters)


def _is_known(key: str, value: str | None) -> bool:
    if key in _FLAGS:
        return value is None
    if key == "client_max_window_bits":  # permits the server to limit the client's window; we do not
        return value is None or value in map(str, range(8, _WINDOW_BITS + 1))
    # A smaller window would need messages of its own; that client is served without compression.
    return key == "server_max_window_bits" and value == str(_WINDOW_BITS)
