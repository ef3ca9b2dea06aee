"""Address: the address of the database, passed or from the environment."""

from __future__ import annotations

import os
import re

from flowcraft.adapters.postgres.django_address import django_address
from flowcraft.errors import RealtimeError

DSN_VARIABLES = ("FLOWCRAFT_DSN", "DATABASE_URL")
"""Variables of the environment that have the address, the first one before the second."""
_DRIVER = re.compile(r"^postgres(?:ql)?\+\w+://")
"""As SQLAlchemy and Django's helpers write it: the driver is theirs, the rest is any client's."""


class NoDatabase(RealtimeError):
    """No address of a database was passed, and none is in the environment."""

    code = "no_database"

    def __init__(self) -> None:
        super().__init__("no database: pass dsn=..., or set FLOWCRAFT_DSN or DATABASE_URL")


class DatabaseAddressInvalid(RealtimeError):
    """The address cannot be one of a PostgreSQL server. The text has no password in it."""

    code = "bad_database_address"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the database's address {reason}; write postgresql://user:password@host:5432/name")


def find_dsn(dsn: str | None) -> str:
    """Return `dsn`, else FLOWCRAFT_DSN, else DATABASE_URL; without the driver of `postgresql+psycopg://`.

    In a process that uses Django, the last is the default database of its settings.

    Raises:
        NoDatabase: none of these is set.
        DatabaseAddressInvalid: it is no address of a PostgreSQL.
    """
    dsn = dsn or next(filter(None, map(os.environ.get, DSN_VARIABLES)), None) or django_address()
    if not dsn:
        raise NoDatabase
    dsn = _DRIVER.sub("postgresql://", dsn)
    _check_address(dsn)
    return dsn


def _check_address(dsn: str) -> None:
    """Refuse an address to which no attempt can succeed; a server would retry for ever."""
    scheme, _, rest = dsn.partition("://")
    if scheme not in ("postgresql", "postgres"):
        raise DatabaseAddressInvalid(f"begins with {scheme[:24]!r}" if rest else "is not a URL")
    hosts = re.split(r"[/?#]", rest.rpartition("@")[2] if "@" in rest.partition("?")[0] else rest)[0]
    for host in hosts.split(","):
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not port.isdigit():
            raise DatabaseAddressInvalid("has a port that is not a number")  # which may be half a password
