"""CORS: what the pages of other origins may send and read, and the headers of every answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from flowcraft.adapters.handshake import Refused, forbidden
from flowcraft.origins import OPAQUE, is_allowed, is_listed
from flowcraft.settings import Settings

_REQUEST_HEADERS = ("Authorization", "Cache-Control", "Content-Type", "Last-Event-ID")
"""What our client, `EventSource` and its replacements send."""
_PREFLIGHT_SECONDS = 7200
"""A browser asks again after this time; Chromium keeps no answer for longer."""
_TOKENS = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+(?:[ \t]*,[ \t]*[-!#$%&'*+.^_`|~0-9A-Za-z]+)*")


def answer_headers(request: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Return the headers of an answer, also of an error: a listed page can read why it was refused.

    `no-transform`: a proxy that compresses a stream would collect events for it. Credentials are for origins
    that are listed by name; `null`, or one that only `any_origin` allows, is any page.
    """
    answer = {"Cache-Control": "no-store, no-transform", "Vary": "Origin"}
    origin, host = request.get("origin"), request.get("host")
    if origin is not None and is_allowed(
        origin, host, settings.allowed_origins, any_origin=settings.any_origin
    ):
        answer["Access-Control-Allow-Origin"] = origin
        answer["Access-Control-Expose-Headers"] = "Retry-After"
        if origin != OPAQUE and is_listed(origin, settings.allowed_origins):
            answer["Access-Control-Allow-Credentials"] = "true"
    return answer


def options(
    request: Mapping[str, str], methods: Sequence[str], settings: Settings
) -> dict[str, str] | Refused:
    """Return the headers of the answer to OPTIONS, which has no content; or why a preflight is refused.

    A preflight asks, before a page's request, whether its method and headers are allowed (WHATWG Fetch §4.8).
    """
    allowed = ", ".join(methods)
    answer = {"Allow": allowed, **answer_headers(request, settings)}
    origin = request.get("origin")
    if origin is None or "access-control-request-method" not in request:
        return answer
    if "Access-Control-Allow-Origin" not in answer:
        return forbidden(origin)
    answer["Vary"] = "Origin, Access-Control-Request-Headers"
    answer["Access-Control-Allow-Methods"] = allowed
    answer["Access-Control-Allow-Headers"] = _allowed_headers(request)
    answer["Access-Control-Max-Age"] = str(_PREFLIGHT_SECONDS)
    if request.get("access-control-request-private-network") == "true":
        answer["Access-Control-Allow-Private-Network"] = "true"
    return answer


def _allowed_headers(request: Mapping[str, str]) -> str:
    """Return the headers that a page may send: those that we know, and those that it asks for.

    Tools add their own to each request of a page, such as `traceparent`; none of them means anything here.
    """
    asked = request.get("access-control-request-headers", "")
    known = {name.lower() for name in _REQUEST_HEADERS}
    more = [name.strip() for name in asked.split(",")] if _TOKENS.fullmatch(asked) else []
    return ", ".join([*_REQUEST_HEADERS, *(name for name in more if name.lower() not in known)])
