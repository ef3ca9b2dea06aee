"""Authorities in every spelling, and complaints about upgrades; rows of the table of requests."""

from __future__ import annotations

from flowcraft.settings import Settings
from tests.support.request_rows import (
    ERROR,
    FORBIDDEN,
    GET,
    H11,
    HANDSHAKE,
    LENGTH,
    LISTED,
    OK,
    ORIGIN,
    OWN,
    PREFLIGHT,
    READABLE,
    SOCKET,
    STREAM,
    STREAMED,
    SWITCHED,
    TOOLS,
    UPGRADE,
    Answer,
    Row,
    head,
    posted,
    with_headers,
)

NAMED = Settings(drain_seconds=0.01, allowed_hosts=("here.example", "*.shop.example", "[::1]"))
ANY = Settings(drain_seconds=0.01, any_origin=True)
MISDIRECTED = Answer(421)


def of_page(host: str | None, origin: str, *, allowed: bool) -> Row:
    """A stream that a page asks for, where pages of the server's own host may."""
    readable = {"access-control-allow-origin": origin.strip(), "access-control-allow-credentials": "true"}
    return Row(
        head(STREAMED, f"Origin: {origin}", host=None if host is None else f"Host: {host}"),
        with_headers(STREAM, readable | {"access-control-allow-credentials": None}) if allowed else FORBIDDEN,
        settings=OWN,
    )


AUTHORITIES: dict[str, Row] = {
    f"Host: {host!r}, Origin: {origin!r}": of_page(host, origin, allowed=allowed)
    for host, origin, allowed in [
        ("here.example:080", "http://here.example", True),
        ("here.example", "https://here.example:0443", True),
        ("  here.example\t ", "http://here.example", True),
        ("here.example", "http://here.example \t", True),
        ("here.example.", "http://here.example.", True),
        ("here.example..", "http://here.example.", False),
        ("[::FFFF:127.0.0.1]:8400", "http://[::ffff:7f00:1]:8400", True),
        ("[2001:DB8:0:0:0:0:0:1]", "https://[2001:db8::1]", True),
        ("here.example:0", "http://here.example", False),
        ("here.example:99999", "http://here.example:99999", False),
        ("here%2Eexample", "http://here.example", False),
        ("127.1", "http://127.0.0.1", False),
        ("localhost:8400", "http://127.0.0.1:8400", False),
        ("here.example", "NULL", False),
        ("here.example", "http://a.example http://here.example", False),
        ("here.example", "moz-extension://here.example", False),
        ("here.example", "ws://here.example", False),
        ("here.example", "https://" + "a" * 6000, False),
        ("here.example", "http://here.example%00.evil.example", False),
        ("here.example", "http://here.example\\.evil.example", False),
        ("here.example", "http://evil.example#here.example", False),
    ]
} | {
    "no Host in HTTP/1.0, with an Origin": Row(
        head("GET /realtime/events?channel=ping_update HTTP/1.0", "Origin: http://here.example", host=None),
        FORBIDDEN,
        settings=OWN,
    ),
    "X-Forwarded-Host is not the Host": Row(
        head(STREAMED, "Origin: http://here.example", "X-Forwarded-Host: here.example", host="Host: inside"),
        FORBIDDEN,
        settings=OWN,
    ),
    "a target of another host than Host": Row(
        head(
            "GET http://there.example/realtime/events?channel=ping_update HTTP/1.1",
            "Origin: http://here.example",
        ),
        FORBIDDEN,
        {TOOLS: 200},
        OWN,
    ),
    "a target of another host than Host, its pages": Row(
        head(
            "GET http://there.example/realtime/events?channel=ping_update HTTP/1.1",
            "Origin: http://there.example",
        ),
        with_headers(STREAM, {"access-control-allow-origin": "http://there.example"}),
        {TOOLS: 403},
        OWN,
    ),
    "a list of Hosts": Row(head(STREAMED, host="Host: here.example, here.example"), ERROR),
    "a Host with a name before": Row(head(STREAMED, host="Host: me@here.example"), ERROR),
    "a Host with a zone": Row(head(STREAMED, host="Host: [fe80::1%25eth0]:8400"), ERROR),
    "a Host of a future version": Row(head(STREAMED, host="Host: [v1.a]"), ERROR),
    "a Host with a scheme": Row(head(STREAMED, host="Host: http://here.example"), ERROR),
    "a Host without brackets": Row(head(STREAMED, host="Host: ::1"), ERROR),
    "an empty Origin at a WebSocket": Row(head(SOCKET, *HANDSHAKE, "Origin:"), FORBIDDEN),
    "any origin": Row(
        head(STREAMED, "Origin: https://anybody.example"),
        with_headers(
            STREAM,
            {
                "access-control-allow-origin": "https://anybody.example",
                "access-control-allow-credentials": None,
            },
        ),
        settings=ANY,
    ),
    "any origin that is one": Row(head(STREAMED, "Origin: anybody"), FORBIDDEN, settings=ANY),
    "any origin, null": Row(head(SOCKET, *HANDSHAKE, "Origin: null"), SWITCHED, settings=ANY),
    "a name that is not listed": Row(head(STREAMED, host="Host: evil.example"), MISDIRECTED, settings=NAMED),
    "a name that is not listed, a health page": Row(head(GET, host="Host: 10.1.2.3"), OK, settings=NAMED),
    "a name that is not listed, a handshake": Row(
        head(SOCKET, *HANDSHAKE, host="Host: evil.example"), MISDIRECTED, settings=NAMED
    ),
    "a listed name with a port": Row(head(STREAMED, host="Host: HERE.example:8400"), STREAM, settings=NAMED),
    "a listed name with a dot": Row(head(STREAMED, host="Host: here.example."), STREAM, settings=NAMED),
    "a name below a listed one": Row(head(STREAMED, host="Host: a.b.shop.example"), STREAM, settings=NAMED),
    "the listed domain itself": Row(head(STREAMED, host="Host: shop.example"), MISDIRECTED, settings=NAMED),
    "a listed address": Row(head(SOCKET, *HANDSHAKE, host="Host: [0:0::1]:8400"), SWITCHED, settings=NAMED),
}
UPGRADES: dict[str, Row] = {
    "Connection: upgrade at a page": Row(head(GET, "Connection: upgrade"), OK),
    "Connection: upgrade at a stream": Row(head(STREAMED, "Connection: Upgrade"), STREAM),
    "Connection: upgrade at a POST": Row(posted("Connection: upgrade", LENGTH), STREAM),
    "an empty Upgrade": Row(head(STREAMED, "Connection: upgrade", "Upgrade:"), STREAM),
    "a WebSocket at a stream": Row(head(STREAMED, *HANDSHAKE), STREAM, {H11: 101, TOOLS: 101}),
    "Connection: close at a handshake": Row(
        head(SOCKET, HANDSHAKE[0], "Connection: close", *HANDSHAKE[2:]), UPGRADE
    ),
    "a handshake in HTTP/1.0": Row(
        head("GET /realtime HTTP/1.0", *HANDSHAKE), UPGRADE, {H11: 101, TOOLS: 101}
    ),
    "a handshake of two offers": Row(
        head(SOCKET, "Upgrade: h2c, websocket", *HANDSHAKE[1:]), SWITCHED, {H11: 426, TOOLS: 426}
    ),
    "a preflight of names without values": Row(
        head(
            "OPTIONS /realtime/events HTTP/1.1",
            ORIGIN,
            "Access-Control-Request-Method: GET",
            "Access-Control-Request-Headers: access-control-allow-origin,authority,authorization",
        ),
        with_headers(
            PREFLIGHT,
            {
                "access-control-allow-headers": "Authorization, Cache-Control, Content-Type, Last-Event-ID, "
                "access-control-allow-origin, authority"
            },
        ),
    ),
    "a stream of a listed page": Row(
        head(STREAMED, f"Origin: {LISTED}", "Cookie: a=b", "Sec-Fetch-Site: cross-site"),
        with_headers(STREAM, READABLE),
    ),
}
