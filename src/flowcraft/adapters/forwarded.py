"""Forwarded: the address of a client behind proxies that the settings trust (RFC 7239, X-Forwarded-For)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from flowcraft.core.addresses import parse_address

_FOR = re.compile(r"""(?:^|[;,])\s*for=("[^"]*"|[^";,\s]*)""", re.IGNORECASE)
_MOST_HOPS = 32
_UNIX = "unix"
"""In the list of proxies: one that connects through a Unix socket."""


def client_address(peer: str, headers: Mapping[str, str], trusted: Sequence[str]) -> str:
    """Return the address of a client, for limits and log lines; names of headers are in lower case.

    `peer` is the other end of the socket. Only what a trusted proxy has written counts: the list is read from
    its end, as far as the entries are those of trusted proxies. A client can write the beginning of the list,
    and all of a header that its proxy does not write; so where both headers are there and differ, the address
    of the proxy is used.
    """
    if not trusted or not _is_trusted(parse_address(peer), tuple(trusted)):
        return peer
    found = {
        _walk(entries, peer, tuple(trusted))
        for entries in (_x_forwarded_for(headers), _forwarded(headers))
        if entries
    }
    return found.pop() if len(found) == 1 else peer


def _x_forwarded_for(headers: Mapping[str, str]) -> list[str]:
    return [entry.strip() for entry in headers.get("x-forwarded-for", "").split(",") if entry.strip()]


def _forwarded(headers: Mapping[str, str]) -> list[str]:
    return [entry.strip('"') for entry in _FOR.findall(headers.get("forwarded", ""))]


def _walk(entries: Sequence[str], peer: str, trusted: tuple[str, ...]) -> str:
    """Return the last entry that is no trusted proxy's, or the one before a malformed entry."""
    last = peer
    for entry in reversed(entries[-_MOST_HOPS:]):
        ip = parse_address(entry)
        if ip is None:  # such as `unknown`, or what a client has made up
            return last
        last = str(ip)
        if not _is_trusted(ip, trusted):
            return last
    return last


def _is_trusted(ip: IPv4Address | IPv6Address | None, trusted: tuple[str, ...]) -> bool:
    if ip is None:
        return _UNIX in trusted
    return any(ip in network for network in _networks(trusted))


@lru_cache(maxsize=16)
def _networks(trusted: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text, strict=False) for text in trusted if text != _UNIX)
