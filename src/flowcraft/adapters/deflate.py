"""Compression of WebSocket messages (permessage-deflate, RFC 7692), without context from message to message.

So that one compressed message serves all connections, and an idle one holds no window.
"""

from __future__ import annotations

import zlib

AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
"""What is answered to a client that may have it."""
FROM_BYTES = 512
"""Shorter messages gain little by compression, and cost as much time."""
_WINDOW_BITS = 15
_LEVEL = 6
_TAIL = b"\x00\x00\xff\xff"
_FLAGS = frozenset({"server_no_context_takeover", "client_no_context_takeover"})


class TooLong(Exception):
    """A message is longer than it may be once it is inflated."""


class NotDeflated(Exception):
    """These bytes are no compressed message."""


def is_offered(extensions: str) -> bool:
    """Tell whether a client's `Sec-WebSocket-Extensions` has an offer that `AGREED` answers (§7.1)."""
    return any(_fits(*_parsed(offer)) for offer in extensions.split(","))


def deflate(message: bytes) -> bytes:
    """Return what leaves for a message (§7.2.1)."""
    deflater = zlib.compressobj(_LEVEL, wbits=-_WINDOW_BITS)
    return (deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)


def inflate(payload: bytes, max_bytes: int) -> bytes:
    """Return the message of a client (§7.2.2).

    Raises:
        TooLong: it has more bytes than that.
        NotDeflated: it is not what a compressor makes.
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
    if key == "client_max_window_bits":  # ours to ask for, and not asked for
        return value is None or value in map(str, range(8, _WINDOW_BITS + 1))
    # A client that wants a smaller window of us is served without compression.
    return key == "server_max_window_bits" and value == str(_WINDOW_BITS)
