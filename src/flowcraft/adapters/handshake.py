"""The handshake: what an opening request asks for, and whether it may."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from flowcraft.settings import Settings

_TOKEN_PARAMETERS = ("token", "access_token", "auth", "jwt", "authorization")


RETRY_SECONDS = (1, 5)
"""Who is refused for now is told to come back after a random time between these."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may become a connection, with the subscriptions its URL names."""

    channels: tuple[str, ...]
    since: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """An HTTP answer instead of a WebSocket."""

    status: int
    reason: str


def admit(query: str, *, origin: str | None, host: str | None, settings: Settings) -> Admitted | Refused:
    """Judge an opening request by its query, its Origin and its Host.

    Only browsers send an Origin, and only against them does it protect (RFC 6455 §10.2): a request without
    one passes.
    """
    if origin is not None and not _is_allowed(origin, host, settings.allowed_origins):
        return Refused(403, f"origin {origin[:64]!r} is not allowed; list it in allowed_origins")
    parameters = parse_qs(query, keep_blank_values=True)
    for name in _TOKEN_PARAMETERS:
        if name in parameters:
            return Refused(
                400, f'no {name!r} in the URL, where logs keep it; send {{"auth":"<token>"}} first'
            )
    return Admitted(tuple(parameters.get("channel", ())), next(iter(parameters.get("since", ())), None))


def _is_allowed(origin: str, host: str | None, allowed: tuple[str, ...]) -> bool:
    if allowed:
        return origin in allowed or "*" in allowed
    try:
        return host is not None and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # no browser has such an origin
        return False
