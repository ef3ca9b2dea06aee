"""Addresses: read the address of a client, and what counts as one address."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`; None if it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        ip = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


def limited_as(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or the /64 of an IPv6 address. Empty if unknown."""
    host, colon, port = address.rpartition(":")
    # Without the port, which each connection has of its own.
    return _limited_as(host if colon and port.isdigit() and ("]" in host or ":" not in host) else address)


@lru_cache(maxsize=4096)  # asked twice for each connection
def _limited_as(address: str) -> str:
    ip = parse_address(address)
    if isinstance(ip, IPv6Address):
        return str(IPv6Network((int(ip) >> 64 << 64, 64)))
    return "" if ip is None else str(ip)
