"""Addresses of NATS: `nats://user:password@a:4222,b:4222/<system>.<database>?stream=<name>`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from flowcraft.adapters.nats.messages import MessageInvalid, Subjects
from flowcraft.errors import RealtimeError
from flowcraft.settings import LOG_URL

_SCHEMES = ("nats", "tls", "ws", "wss")
_FORM = f"{LOG_URL} is of the form nats://host:4222, with several hosts nats://a,b,c"
_STREAM_FORM = "after the ? is stream=<name>, and with it storage=memory or file, seconds, bytes, replicas"


class LogAddressInvalid(RealtimeError, ValueError):
    """An address of NATS that can never work."""

    code = "log_address_invalid"


@dataclass(frozen=True)
class StreamOptions:
    """The stream of JetStream that keeps the newest batches: its name, and how a relay creates it."""

    name: str
    storage: Literal["memory", "file"] = "memory"
    seconds: float = 600.0
    bytes: int = 128 * 1024 * 1024
    replicas: int = 1

    @classmethod
    def parse(cls, query: str) -> StreamOptions:
        """Read what follows the ? of an address.

        Raises:
            ValueError: it is not of that form.
        """
        given = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True))
        name, storage = given.pop("stream", ""), given.pop("storage", cls.storage)
        seconds = float(given.pop("seconds", cls.seconds))
        size, replicas = int(given.pop("bytes", cls.bytes)), int(given.pop("replicas", cls.replicas))
        if given or not _STREAM_NAME.fullmatch(name) or storage not in ("memory", "file"):
            raise ValueError(query)
        if not 0 < seconds < 1e9 or not 0 < size < 2**63 or not 0 < replicas <= 5:
            raise ValueError(query)
        return cls(name, "file" if storage == "file" else "memory", seconds, size, replicas)


_STREAM_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogAddress:
    """The servers of NATS, and the database whose log is read and a stream, if the address names these."""

    servers: tuple[str, ...]
    subjects: Subjects | None = None
    stream: StreamOptions | None = None

    @classmethod
    def parse(cls, text: str) -> LogAddress:
        """Read an address; scheme, user and password of the first server are those of the others, too.

        Raises:
            LogAddressInvalid: it is none.
        """
        scheme, separator, rest = text.strip().partition("://")
        if not separator or scheme not in _SCHEMES:
            raise LogAddressInvalid(f"{_shown(text)!r}: {_FORM}")
        rest, _, query = rest.partition("?")
        where, _, path = rest.partition("/")
        try:
            subjects = Subjects.parse(path) if path.strip("/") else None
        except MessageInvalid:
            raise LogAddressInvalid(
                f"{_shown(text)!r}: after the / is <system>.<database>, as `flowcraft relay` prints it"
            ) from None
        user, at, hosts = where.rpartition("@")
        servers = [f"{scheme}://{user}{at}{host.strip()}" for host in hosts.split(",")]
        for server in servers:
            _check(server, text)
        try:
            stream = StreamOptions.parse(query) if query else None
        except ValueError:
            raise LogAddressInvalid(f"{_shown(text)!r}: {_STREAM_FORM}") from None
        return cls(tuple(servers), subjects, stream)

    def __str__(self) -> str:
        """Return the servers without their passwords."""
        scheme = self.servers[0].partition("://")[0]
        hosts = [server.partition("://")[2].rpartition("@")[2] for server in self.servers]
        return f"{scheme}://{','.join(hosts)}"


def _check(server: str, text: str) -> None:
    try:
        parts = urlsplit(server)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise LogAddressInvalid(f"{_shown(text)!r}: {_FORM}")


def _shown(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"[:100]
