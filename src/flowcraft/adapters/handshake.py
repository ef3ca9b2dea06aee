"""Handshake: admit or refuse the HTTP request that opens a WebSocket or an event stream."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from http.cookies import SimpleCookie
from urllib.parse import unquote_plus

import msgspec

from flowcraft.adapters.forwarded import client_address
from flowcraft.carrier_ports import NodePort
from flowcraft.core.counts import is_notable
from flowcraft.origins import is_allowed, is_listed_host, may_send_cookies
from flowcraft.settings import Settings
from flowcraft.viewers import Handshake, Headers

logger = logging.getLogger(__name__)

QUERY_BYTES = 8 * 1024
"""The longest query: as long as the longest request target."""
_TOKEN_PARAMETERS = ("token", "access_token", "auth", "jwt", "authorization")
RETRY_SECONDS = (1, 5)
"""Retry-After of a 503 is a random number between these: refused clients must not all return at once."""


class Admitted(msgspec.Struct, frozen=True):  # a dataclass is made ten times as slowly
    """A request that may become a connection, with the subscriptions in its URL."""

    channels: tuple[str, ...]
    since: str | None
    rows: tuple[str, ...] = ()
    """The channels whose rows an event stream has."""
    address: str = ""
    """The client's address, behind trusted proxies too; empty if it is unknown."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An HTTP error response, with the headers that its status requires."""

    status: int
    reason: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


MALFORMED_HOST = Refused(400, "bad request: expected one Host field with a host and an optional port")


def admit(query: str, headers: Mapping[str, str], node: NodePort, peer: str) -> Admitted | Refused:
    """Admit or refuse a request by its query, its headers, its address and the state of the node.

    Names of headers are in lower case; `peer` is the address of the other end of the socket.
    """
    settings = node.settings
    address = client_address(peer, headers, settings.trusted_proxies)
    checked = check_request(query, headers.get("origin"), headers.get("host"), settings)
    if isinstance(checked, Refused):
        refusals, level = node.counts.refusals, logging.INFO
        if checked.status == HTTPStatus.FORBIDDEN:
            refusals["origin"] += 1
            level = logging.WARNING if is_notable(refusals["origin"]) else logging.INFO
        who = address or "an unknown address"
        logger.log(level, "a request from %s was refused: %s", who, checked.reason)
        return checked
    if not node.accepting:
        return _unavailable(node, "not ready")
    if not node.has_place_for(address):
        logger.info("a request from %s was refused: connections_per_address is reached", address)
        return _unavailable(node, "too many connections from this address")
    return Admitted(checked.channels, checked.since, checked.rows, address)


def handshake_of(path: str, fields: Mapping[str, str], address: str, settings: Settings) -> Handshake:
    """Return an admitted request for the authorizer; without cookies that any page may have had sent."""
    origin, cookie = fields.get("origin"), fields.get("cookie")
    site, host = fields.get("sec-fetch-site"), fields.get("host")
    if cookie is not None and not may_send_cookies(origin, site, host, settings.allowed_origins):
        logger.info(
            "cookies from %s were ignored: origin %r is not listed by name, nor the server's own",
            *(address or "an unknown address", origin and origin[:64]),
        )
        fields = {name: value for name, value in fields.items() if name != "cookie"}
        cookie = None
    return Handshake(path, Headers(fields), parse_cookies(cookie or ""), origin, address)


def parse_cookies(text: str) -> dict[str, str]:
    """Parse a Cookie field as frameworks do: leniently, the last of two cookies with one name counts."""
    pairs = [pair.partition("=") for pair in text.split(";")]
    # Not SimpleCookie(text): it drops every cookie after one that does not follow the grammar.
    decode: Callable[[str], tuple[str, str]] = SimpleCookie().value_decode
    named = {name.strip(): value.strip() for name, equals, value in pairs if equals}
    return {name: decode(value)[0] for name, value in named.items() if name}


def join_fields(fields: dict[str, str], name: str, value: str) -> None:
    """Add a field to those before it; a repeated one is joined (RFC 9110 §5.3, RFC 9113 §8.2.3)."""
    if name in fields:
        value = f"{fields[name]}{'; ' if name == 'cookie' else ', '}{value}"
    fields[name] = value


def _unavailable(node: NodePort, why: str) -> Refused:
    node.counts.refused += 1
    seconds = random.randint(*RETRY_SECONDS)  # noqa: S311  # jitter, not a secret
    return Refused(503, f"service unavailable: {why}; try again", {"Retry-After": str(seconds)})


def check_request(query: str, origin: str | None, host: str | None, settings: Settings) -> Admitted | Refused:
    """Admit or refuse a request by its query and its Origin; its Host is well-formed.

    A request without an Origin passes: only browsers send one, and it protects only against pages in
    browsers (RFC 6455 §10.2).
    """
    if settings.allowed_hosts and not is_listed_host(host or "", settings.allowed_hosts):
        return Refused(421, f"misdirected request: host {(host or '')[:64]!r} is not in allowed_hosts")
    if origin is not None and not is_allowed(
        origin, host, settings.allowed_origins, any_origin=settings.any_origin
    ):
        return forbidden(origin)
    if len(query) > QUERY_BYTES:
        return Refused(414, f"URI too long: a query has at most {QUERY_BYTES} bytes; subscribe by messages")
    return _asked(query)


@lru_cache(maxsize=256)  # pages of one application ask for the same
def _asked(query: str) -> Admitted | Refused:
    parameters = _parameters(query)
    for name in _TOKEN_PARAMETERS:
        if name in parameters:
            where = f"{name!r} in the URL, which servers log"
            return Refused(400, f'bad request: {where}; send {{"auth":"<token>"}} first')
    since = next(iter(parameters.get("since", ())), None)
    rows = tuple(dict.fromkeys(parameters.get("rows", ())))
    return Admitted(tuple(parameters.get("channel", ())), since, rows)


def forbidden(origin: str) -> Refused:
    """Return the refusal of a page's request."""
    return Refused(403, f"forbidden: origin {origin[:64]!r} is not allowed; list it in allowed_origins")


def method_not_allowed(allowed: Sequence[str]) -> Refused:
    """Return the refusal of another method."""
    reason = f"method not allowed: expected {', '.join(allowed[:-1])} or {allowed[-1]}"
    return Refused(405, reason, {"Allow": ", ".join(allowed)})


def _parameters(query: str) -> dict[str, list[str]]:
    # Not parse_qs(query, keep_blank_values=True): this takes a third of its 2 µs, and a test compares them.
    parameters: dict[str, list[str]] = {}
    for pair in query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            parameters.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    return parameters
