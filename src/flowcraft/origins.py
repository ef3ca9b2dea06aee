"""Origins: compare the Origin of a page with the host of the server and with a list (RFC 6454)."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Final

# Not urllib.parse.urlsplit: it raises ValueError for some input, such as "http://[", and accepts much that
# is no authority (RFC 3986 §3.2).
_AUTHORITY_GRAMMAR = r"(\[[0-9A-Fa-f:.]+\]|[-._~%!$&'()*+,;=0-9A-Za-z]*)(?::([0-9]{0,5}))?"
_AUTHORITY = re.compile(_AUTHORITY_GRAMMAR)
_ORIGIN = re.compile(rf"([A-Za-z][-+.0-9A-Za-z]*)://{_AUTHORITY_GRAMMAR}")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_PAGE_SCHEMES = {"ws": "http", "wss": "https"}
"""The schemes of the pages that open WebSockets."""
_PAGE_HOST = re.compile(r"\[[0-9a-f:.]+\]|[-_0-9a-z]+(?:\.[-_0-9a-z]+)*\.?")
_LOOPBACK = re.compile(r"localhost\b|127\.|\[::1\]")
OPAQUE: Final = "null"
"""The Origin of a page that has none to show, such as a file or a sandboxed frame."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a page, each as browsers write it; without a default port."""

    scheme: str
    host: str
    port: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}{self.port and ':'}{self.port}"

    def is_at(self, authority: str) -> bool:
        """Return whether a Host field names the host and port of this origin, one of http or https."""
        match = _AUTHORITY.fullmatch(authority)
        if match is None or self.scheme not in _DEFAULT_PORTS:
            return False
        host, port = _host(match[1]).removesuffix("."), _port(self.scheme, match[2])
        return bool(host) and (host, port) == (self.host.removesuffix("."), self.port)


@lru_cache(maxsize=64)  # a server has few names
def is_authority(text: str) -> bool:
    """Return whether a text is a host with an optional port, as in the Host field (RFC 9110 §7.2)."""
    return _AUTHORITY.fullmatch(text) is not None


def parse_origin(text: str) -> Origin | None:
    """Parse an Origin; None if it is malformed or opaque (`null`)."""
    match = _ORIGIN.fullmatch(text)
    if match is None or not 0 < int(match[3] or 1) < 65536:
        return None
    scheme = match[1].lower()
    return Origin(scheme, _host(match[2]), _port(scheme, match[3]))


def is_listed(origin: str, listed: Collection[str]) -> bool:
    """Return whether an Origin is in a list, by its name or as `https://*.example.com`."""
    if "*" in origin:  # a pattern of the list is no origin of a page
        return False
    if origin in listed:
        return True
    parsed = parse_origin(origin)
    if parsed is None:
        return False
    return str(parsed) in listed or any(_matches(parsed, pattern) for pattern in listed if "*." in pattern)


def is_listed_host(authority: str, listed: Collection[str]) -> bool:
    """Return whether a Host field names a host of a list, by its name or as `*.example.com`; not its port."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return False
    host = _host(match[1]).removesuffix(".")
    return any(host == one or (one.startswith("*.") and _is_below(host, one[1:])) for one in listed)


def is_allowed(origin: str, host: str | None, listed: Collection[str], *, any_origin: bool = False) -> bool:
    """Return whether pages of an Origin may connect: listed ones, or without a list those of the own host.

    With `any_origin`, those of every Origin that is well-formed. The scheme of the server is not compared:
    behind a proxy that ends TLS it is not known.
    """
    if any_origin:
        return origin == OPAQUE or parse_origin(origin) is not None
    if listed:
        return is_listed(origin, listed)
    parsed = parse_origin(origin)
    return parsed is not None and host is not None and parsed.is_at(host)


def may_send_cookies(origin: str | None, site: str | None, host: str | None, listed: Collection[str]) -> bool:
    """Return whether a request with cookies is from a listed page or one of the own host, not from any page.

    `site` is Sec-Fetch-Site: browsers send no Origin with a GET of a page to its own host.
    """
    if origin is None:
        return site == "same-origin"
    if origin == OPAQUE:
        return False
    parsed = parse_origin(origin)
    return is_listed(origin, listed) or (parsed is not None and host is not None and parsed.is_at(host))


def origin_fault(text: str) -> str | None:
    """Return what is wrong with an origin in a list and how to write it; None if browsers send it so."""
    parsed = parse_origin(text)
    if text == OPAQUE or (parsed is not None and str(parsed) == text and _is_sent(parsed)):
        return None
    if "://*." in text and (below := origin_fault(text.replace("://*.", "://any.", 1))) is None:
        return below
    if "*" in text:
        return (
            f"{text!r} has a wildcard; list each origin, write 'https://*.example.com' for the hosts below "
            "a domain, or set any_origin=True where every page may connect"
        )
    better = _spelling(text)
    if better is None:
        return f"{text!r} is not an origin; write a scheme and a host, such as 'https://app.example.com'"
    return f"{text!r} is not an origin as browsers send it; write {better!r}"


def host_fault(text: str) -> str | None:
    """Return what is wrong with a host in a list; None if nothing is."""
    match = _AUTHORITY.fullmatch(text.removeprefix("*."))
    if match is None or match[2] is not None or not match[1] or "*" in match[1] or text != text.lower():
        return f"{text!r} is no host; write a name in lower case without a port, such as 'app.example.com'"
    return None


def _is_sent(origin: Origin) -> bool:
    """Return whether browsers send such an origin: not with the scheme of a WebSocket, or odd characters."""
    if origin.scheme not in _DEFAULT_PORTS:
        return origin.scheme not in _PAGE_SCHEMES and "*" not in origin.host
    return _PAGE_HOST.fullmatch(origin.host) is not None


def _spelling(text: str) -> str | None:
    """Return the origin that was probably meant; None if no origin resembles it."""
    scheme, separator, rest = text.strip().rpartition("://")
    if not separator:
        rest = rest.removeprefix("//")
        scheme = "http" if _LOOPBACK.match(rest) else "https"
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0].rpartition("@")[2]
    if not authority.isascii():
        try:
            authority = authority.encode("idna").decode()
        except UnicodeError:
            return None
    parsed = parse_origin(f"{_PAGE_SCHEMES.get(scheme.lower(), scheme)}://{authority}")
    if parsed is None or not _is_sent(parsed) or parsed.host in _DEFAULT_PORTS:
        return None
    return str(parsed)


def _matches(origin: Origin, pattern: str) -> bool:
    """Return whether an origin fits a pattern such as `https://*.example.com`: any host below that domain."""
    scheme, _, rest = pattern.partition("://*.")
    domain, _, port = rest.partition(":")
    return (
        bool(domain)
        and (origin.scheme, origin.port) == (scheme, _port(scheme, port))
        and _is_below(origin.host.removesuffix("."), f".{domain}")
    )


def _is_below(host: str, domain: str) -> bool:
    return len(host) > len(domain) and host.endswith(domain.lower())


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return f"[{IPv6Address(text[1:-1]).compressed}]"
        except AddressValueError:
            return text.lower()
    return text.lower()


def _port(scheme: str, text: str | None) -> str:
    port = text and (text.lstrip("0") or "0")
    return "" if not port or port == _DEFAULT_PORTS.get(scheme) else port
