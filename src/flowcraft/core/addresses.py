"""Addresses: read the address of a client, and what counts as one address."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`; None if it is none."""
    try:
        ip = ip_address(_without_port(text).partition("%")[0])
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


def limited_as(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or the /64 of an IPv6 address. Empty if unknown."""
    return _limited_as(_without_port(address))


@lru_cache(maxsize=4096)  # asked twice for each connection; each has a port of its own
def _limited_as(address: str) -> str:
    ip = parse_address(address)
    if isinstance(ip, IPv6Address):
        return str(IPv6Network((int(ip) >> 64 << 64, 64)))
    return "" if ip is None else str(ip)


def _without_port(text: str) -> str:
    host, _, port = text.partition(":")
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text if ":" in port else host
