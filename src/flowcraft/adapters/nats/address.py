"""Addresses of NATS: `nats://user:password@a:4222,b:4222/<system>.<database>`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from flowcraft.adapters.nats.messages import MessageInvalid, Subjects
from flowcraft.errors import RealtimeError
from flowcraft.settings import LOG_URL

_SCHEMES = ("nats", "tls", "ws", "wss")
_FORM = f"{LOG_URL} is of the form nats://host:4222, with several hosts nats://a,b,c"


class LogAddressInvalid(RealtimeError, ValueError):
    """An address of NATS that can never work."""

    code = "log_address_invalid"


@dataclass(frozen=True, slots=True)
class LogAddress:
    """The servers of NATS, and the database whose log is read if the address names one."""

    servers: tuple[str, ...]
    subjects: Subjects | None = None

    @classmethod
    def parse(cls, text: str) -> LogAddress:
        """Read an address; scheme, user and password of the first server are those of the others, too.

        Raises:
            LogAddressInvalid: it is none.
        """
        scheme, separator, rest = text.strip().partition("://")
        if not separator or scheme not in _SCHEMES:
            raise LogAddressInvalid(f"{_shown(text)!r}: {_FORM}")
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
        return cls(tuple(servers), subjects)

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
