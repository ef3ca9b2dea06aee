"""Settings: every limit and interval, with its default and its unit."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Final, cast

import msgspec

from flowcraft.origins import host_fault, origin_fault

LOG_URL: Final = "FLOWCRAFT_LOG_URL"
"""Names the address of NATS whose relays a node follows; without it a node reads the database."""
_YEARS: Final = 1e10
"""In seconds, about 300 years: more than that no interval of PostgreSQL or Python is needed for."""
NEVER_SECONDS: Final = 31_536_000.0
"""A year: of what is to happen after so long, servers keep no timer."""
MEMBERS_LISTED: Final = 500
_RANGES: Final[dict[str, tuple[float, float]]] = {
    # More often is a busy loop, and after an hour no proxy keeps a quiet connection.
    "heartbeat_seconds": (0.01, 3600),
    "pong_timeout_seconds": (0.01, 3600),
    "auth_timeout_seconds": (0.01, 3600),
    "safety_poll_seconds": (0.01, 3600),
    "outbox_seconds": (0.01, 86_400),
    "drain_seconds": (0.001, 86_400),
    # Less has no room for a frame, or for a token.
    "message_bytes": (256, 2**30),
    "outbox_bytes": (1024, 2**40),
}
_RANGES_OF_UNITS: Final[dict[str, tuple[float, float]]] = {
    "_per_second": (0.001, 1e12),
    "_seconds": (0.01, _YEARS),
    "_bytes": (1, 2**40),
    "": (1, 2**31 - 1),
}
"""By how the name of a setting ends; the first that fits."""


class SettingInvalid(ValueError, TypeError):
    """A setting can never work; the message has its name and how to write it.

    Also a `TypeError`: often a value of another type was passed.
    """


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The limits and intervals of one server. Build a changed copy with `Settings(heartbeat_seconds=5)`.

    Raises:
        ValueError: a value is of another type, out of its range, or a text of another form.
    """

    heartbeat_seconds: float = 25.0
    """A connection receives a commit point at least this often."""
    pong_timeout_seconds: float = 8.0
    """A client that answers no ping for this long is closed (4409)."""
    auth_timeout_seconds: float = 5.0
    """Where a token is required, it must arrive within this time (4501)."""
    safety_poll_seconds: float = 0.75
    """The log is read at least this often: a lost notification delays an event by at most this."""
    outbox_bytes: int = 1024 * 1024
    """Bytes that may wait for one client; with more it is closed, to resume later (4408)."""
    outbox_seconds: float = 15.0
    """A client that has not read bytes for this long is closed, to resume later (4408)."""
    message_bytes: int = 64 * 1024
    """The longest message a client may send; where a token is required, 16 KiB until it has come."""
    message_fragments: int = 16
    """The most WebSocket frames of one message."""
    compress: bool = False
    """Compress messages of 512 bytes and more, once for all clients that support it (RFC 7692).

    Compression saves traffic and costs processor time. Do not use it for payloads in which a secret stands
    beside text that an attacker may choose (BREACH). In an ASGI application the ASGI server decides.
    """
    messages_per_second: float = 50.0
    """Messages that one client may send, in the long run; with more it is closed (4429)."""
    messages_at_once: int = 256
    """Messages that one client may send at once, after a pause."""
    received_bytes_per_second: float = 256 * 1024
    """Bytes of messages that one client may send, in the long run; with more it is closed (4429)."""
    joins_per_second: float = 50.0
    """Channels that one client may subscribe to, in the long run; with more it is closed (4429)."""
    guard_timeout_seconds: float = 5.0
    """A guard that has not answered after this time refuses."""
    guards_per_connection: int = 8
    """The most guards of one connection that are asked at a time."""
    token_lifetime_seconds: float = 86_400.0
    """A client must send a new token after this time, even if its token is valid for longer (4401)."""
    connection_age_seconds: float = NEVER_SECONDS
    """A client reconnects and resumes after about this time: new servers get their share. By default never.

    Each after its own time, up to a fifth less or more.
    """
    channels_per_connection: int = 128
    """The most subscriptions of one connection."""
    settles_per_connection: int = 64
    """The most transactions for which one connection may wait at a time."""
    retention_seconds: float = 86_400.0
    """Events are kept at least this long; older cursors are answered with `reset` (`expired`)."""
    replay_events: int = 100_000
    """A replay longer than this is answered with `reset` (`expired`)."""
    replay_bytes: int = 32 * 1024 * 1024
    """A replay with more bytes of payload is answered with `reset` too: it is in memory while it is sent."""
    rows_per_channel: int = 10_000
    """A client that asks for the rows of a channel with more rows is refused (`limit_exceeded`)."""
    rows_bytes: int = 8 * 1024 * 1024
    """The same for rows with more bytes of JSON: they are in memory while they are sent."""
    rows_unread_bytes: int = 128 * 1024 * 1024
    """Memory for rows that slow clients have not read; beyond, those that wait longest are closed (4408)."""
    members_listed: int = MEMBERS_LISTED
    """A channel with more members has their number in the place of their list, until there are a fifth less.

    All servers have the same value. More than `rows_per_channel` are never listed.
    """
    presence_grace_seconds: float = 5.0
    """A member whose last page is gone stays for this long: a page that is reloaded comes back before."""
    backlog_events: int = 200_000
    """A server with a larger backlog goes on from the end of the log and resets its clients (`expired`)."""
    backlog_bytes: int = 128 * 1024 * 1024
    """The same for a backlog with more bytes of payload: it is in memory while it is sent."""
    recent_events: int = 20_000
    """Events kept in memory for clients that reconnect soon.

    Beyond, the channels that have most lose their oldest ones: a busy one leaves the others theirs.
    """
    recent_bytes: int = 16 * 1024 * 1024
    """Bytes of payload kept in memory for clients that reconnect soon; beyond, the same is dropped."""
    recent_seconds: float = 300.0
    """How long events are kept in memory for clients that reconnect soon."""
    drain_seconds: float = 5.0
    """On shutdown, clients are drained evenly over this time."""
    connections: int = 20_000
    """The most clients at a time; more are refused with HTTP 503, to try again."""
    connections_per_address: int = 200
    """The most clients of one address, or of one /64 of IPv6; more are refused with HTTP 503."""
    connections_per_viewer: int = 20
    """The most connections of one viewer on this server; more are closed (4504)."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of the proxies whose X-Forwarded-For or Forwarded names the client.

    `unix` is a proxy at a Unix socket. Without them, all clients of a proxy are one address.
    """
    listen_backlog: int = 4096
    """Connections that the kernel keeps in its queue until they are accepted."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of pages that may connect, such as `https://app.example.com`; by default the server's own.

    Scheme, host and port as browsers send them: no path, no slash at the end, no default port, lower case.
    `null` admits pages without an origin, `https://*.example.com` every host below the domain.
    """
    any_origin: bool = False
    """Pages of every origin may connect, without cookies: for public data, demonstrations and tests."""
    allowed_hosts: tuple[str, ...] = ()
    """Names in `Host` by which clients may connect, such as `app.example.com`; by default every name.

    Set them where pages of the server's own host may connect: a page can have its own name lead to this
    server's address (DNS rebinding).
    """
    development: bool = False
    """Answer an undeclared channel with the declared name that was probably meant."""

    @property
    def most_listed(self) -> int:
        """The most members of a channel that are listed."""
        return min(self.members_listed, self.rows_per_channel)

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(self):
            value: object = getattr(self, field.name)
            if field.name in _CHECKS_OF_LISTS:
                msgspec.structs.force_setattr(self, field.name, _texts(field.name, value))
            elif field.type in (int, float):
                _check_number(field.name, value, is_whole=field.type is int)
            elif field.type is bool and not isinstance(value, bool):
                raise SettingInvalid(f"{field.name} is True or False, got {value!r}")


def _check_number(name: str, value: object, *, is_whole: bool) -> None:
    kinds = int if is_whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise SettingInvalid(f"{name} is a {'whole number' if is_whole else 'number'}, got {value!r}")
    units = next(range_ for unit, range_ in _RANGES_OF_UNITS.items() if name.endswith(unit))
    least, most = _RANGES.get(name, units)
    if not least <= value <= most:  # NaN is not
        raise SettingInvalid(f"{name} must be from {least:,g} to {most:,.15g}, got {value!r}")


def _texts(name: str, value: object) -> tuple[str, ...]:
    check, example = _CHECKS_OF_LISTS[name]
    if isinstance(value, str | bytes):
        shown = value if isinstance(value, str) and check(value) is None else example
        raise SettingInvalid(f"{name} is a tuple, got {value!r}; write {name}=({shown!r},)")
    if not isinstance(value, Iterable):
        raise SettingInvalid(f"{name} is a tuple of texts, such as ({example!r},), got {value!r}")
    texts: list[str] = []
    for text in cast(Iterable[object], value):
        if not isinstance(text, str):
            raise SettingInvalid(f"{name}: expected a text such as {example!r}, got {text!r}")
        fault = check(text)
        if fault is not None:
            raise SettingInvalid(f"{name}: {fault}")
        texts.append(text)
    return tuple(texts)


def _proxy_fault(text: str) -> str | None:
    try:
        if text != "unix":
            ip_network(text, strict=False)
    except ValueError:
        return f"{text!r} is no address or network, such as '10.0.0.0/8', nor 'unix'"
    return None


_CHECKS_OF_LISTS: Final = {
    "allowed_origins": (origin_fault, "https://app.example.com"),
    "allowed_hosts": (host_fault, "app.example.com"),
    "trusted_proxies": (_proxy_fault, "10.0.0.0/8"),
}
