"""One SQL command over a Unix socket, by PostgreSQL's simple query protocol.

For the launcher only, which must not need a driver. It does no authentication: the socket is one user's.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from flowcraft.errors import RealtimeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

Row = tuple[str | None, ...]
PROTOCOL = 196608  # 3 << 16: version 3.0


class QueryFailed(RealtimeError):
    """PostgreSQL answered with an error."""


def simple_query(path: Path, user: str, database: str, sql: str, timeout_seconds: float = 60.0) -> list[Row]:
    """Run one SQL command and return its rows as text.

    Raises:
        QueryFailed: the server refused the connection or the command.
        OSError: there is no server at that socket, or it did not answer in time.
    """
    startup = struct.pack("!i", PROTOCOL) + b"".join(
        word.encode() + b"\0" for word in ("user", user, "database", database, "client_encoding", "UTF8", "")
    )
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_seconds)
        connection.connect(str(path))
        with connection.makefile("rb") as answers:
            connection.sendall(struct.pack("!i", len(startup) + 4) + startup)
            _rows(answers)
            query = sql.encode() + b"\0"
            connection.sendall(b"Q" + struct.pack("!i", len(query) + 4) + query)
            rows = _rows(answers)
            connection.sendall(b"X\0\0\0\4")
            return rows


def _rows(answers: BinaryIO) -> list[Row]:
    """Read messages up to ReadyForQuery."""
    rows: list[Row] = []
    error: str | None = None
    for kind, body in _messages(answers):
        if kind == b"D":
            rows.append(tuple(_columns(body)))
        elif kind == b"E":
            error = error or _text_of(body)
        elif kind == b"Z":
            break
    else:
        error = error or "the server closed the connection"
    if error is not None:
        raise QueryFailed(error)
    return rows


def _messages(answers: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    while len(header := answers.read(5)) == 5:  # one byte of kind, four of length
        yield header[:1], answers.read(int.from_bytes(header[1:]) - 4)


def _columns(body: bytes) -> Iterator[str | None]:
    position = 2
    for _ in range(int.from_bytes(body[:2])):
        (length,) = struct.unpack_from("!i", body, position)
        position += 4
        yield None if length < 0 else body[position : position + length].decode()
        position += max(length, 0)


def _text_of(error: bytes) -> str:
    fields = {field[:1]: field[1:].decode(errors="replace") for field in error.split(b"\0") if field}
    return f"{fields.get(b'M', 'unknown error')} (SQLSTATE {fields.get(b'C', '?')})"
