"""PostgreSQL behind a fault proxy: its address through the proxy, and a stream without notifications."""

from __future__ import annotations

import struct
from urllib.parse import parse_qs, quote, urlsplit

from faults.links import Transform
from faults.proxy import Address, FaultProxy

_NOTIFICATION = ord("A")
_ANSWERS = b"NSG"
"""Replies of one byte to a request for encryption: `N` for no, `S` or `G` for yes; then all is opaque."""
_HEAD = struct.Struct("!BI")


def address_of(dsn: str) -> Address:
    """Return where the server of a `postgresql://` address listens."""
    url = urlsplit(dsn)
    query = parse_qs(url.query)
    host = query.get("host", [url.hostname or "127.0.0.1"])[0]
    port = int(query.get("port", [str(url.port or 5432)])[0])
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)


def through(dsn: str, proxy: FaultProxy) -> str:
    """Return the same address through a proxy."""
    url = urlsplit(dsn)
    user = parse_qs(url.query).get("user", [""])[0]
    credentials = url.netloc.rpartition("@")[0] or quote(user)
    return f"{url.scheme}://{credentials}@{proxy.host}:{proxy.port}{url.path}".replace("//@", "//")


class WithoutNotifications:
    """Removes notifications from the server's stream while `active`; a `transform_down` for a proxy."""

    def __init__(self, *, active: bool = True) -> None:
        self.active = active
        self.dropped = 0

    def __call__(self) -> Transform:
        """Return the filter of one connection."""
        return _Messages(self).take


class _Messages:
    """One server's stream of messages (kind, length, body), in pieces of any size."""

    def __init__(self, without: WithoutNotifications) -> None:
        self._without = without
        self._head = b""
        self._left = 0
        """Remaining bytes of the current message."""
        self._drops = False
        self._greeted = False
        self._opaque = False

    def take(self, data: bytes) -> bytes:
        """Return the bytes of the next piece to pass on."""
        data, self._head = self._head + data, b""
        at = 0 if self._greeted else self._greet(data)
        passed = [data[:at]]
        while at < len(data) and (self._left or self._begin(data, at)):
            end = min(at + self._left, len(data))
            if not self._drops:
                passed.append(data[at:end])
            self._left -= end - at
            at = end
        return b"".join(passed)

    def _greet(self, data: bytes) -> int:
        """Return the length of the part before the first message: replies, or everything if encrypted."""
        at = 0
        while at < len(data) and not self._opaque and data[at] in _ANSWERS:
            self._opaque = data[at] != ord("N")
            at += 1
        if self._opaque:
            return len(data)
        self._greeted = at < len(data)
        return at

    def _begin(self, data: bytes, at: int) -> bool:
        """Read the head of the next message; keep an incomplete head."""
        if len(data) - at < _HEAD.size:
            self._head = data[at:]
            return False
        kind, length = _HEAD.unpack_from(data, at)
        self._left = length + 1
        self._drops = self._without.active and kind == _NOTIFICATION
        self._without.dropped += self._drops
        return True
