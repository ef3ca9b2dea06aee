"""Chunks: the content of a request in chunks (RFC 9112 §7.1), without input and output."""

from __future__ import annotations

import re

from flowcraft.adapters.handshake import Refused

CHUNKS = 4096
"""The most chunks of a content: each takes a microsecond, and a client may send one for each byte."""
_LINE_BYTES = 256
"""The longest line before a chunk, and the longest field after the last one."""
_TRAILERS = 16
"""The most fields after the last chunk; they are discarded."""
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_FIELD = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n")
_MALFORMED = Refused(
    400, "bad request: malformed chunk; expected its size in hexadecimal digits, then its bytes"
)


class ChunkReader:
    """Reads a chunked content from the pieces in which it arrives, and moves each byte once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._content = bytearray()
        self._chunks = self._trailers = 0
        self._needed = 0
        """Bytes of the present chunk that have still to arrive, the line break after it included."""
        self._is_last = self._is_complete = False
        """Whether the last chunk has been read, and the empty line after it."""

    def read(self, arrived: bytearray) -> bytes | Refused | None:
        """Take from what has arrived; return the content at its end, or a refusal; None until then."""
        at = 0
        while not self._is_complete:
            end = self._data(arrived, at) if self._needed else self._line(arrived, at)
            if isinstance(end, Refused):
                return end
            if end == at:
                break
            at = end
        del arrived[:at]
        return bytes(self._content) if self._is_complete else None

    def _data(self, arrived: bytearray, at: int) -> int | Refused:
        """Read bytes of a chunk; return where they end, or `at` if none have arrived."""
        end = min(len(arrived), at + self._needed - 2)
        self._content += arrived[at:end]
        self._needed -= end - at
        if self._needed > 2 or len(arrived) < end + 2:
            return end
        self._needed = 0
        return end + 2 if arrived.startswith(b"\r\n", end) else _MALFORMED

    def _line(self, arrived: bytearray, at: int) -> int | Refused:
        """Read a line; return where it ends, or `at` if it has not arrived."""
        end = arrived.find(b"\n", at, at + _LINE_BYTES) + 1
        if not end:
            return _MALFORMED if len(arrived) - at >= _LINE_BYTES else at
        line = bytes(arrived[at:end])
        return (self._trailer(line) if self._is_last else self._size(line)) or end

    def _size(self, line: bytes) -> Refused | None:
        match = _SIZE.fullmatch(line)
        if match is None:
            return _MALFORMED
        size, self._chunks = int(match[1], 16), self._chunks + 1
        if len(self._content) + size > self._most:
            return Refused(413, f"content too large: at most {self._most} bytes")
        if self._chunks > CHUNKS:
            return Refused(413, f"content too large: at most {CHUNKS} chunks")
        self._is_last, self._needed = size == 0, size and size + 2
        return None

    def _trailer(self, line: bytes) -> Refused | None:
        self._trailers += 1
        self._is_complete = line == b"\r\n"
        if self._is_complete or (_FIELD.fullmatch(line) and self._trailers <= _TRAILERS):
            return None
        return Refused(400, f"bad request: expected at most {_TRAILERS} fields after the last chunk")
