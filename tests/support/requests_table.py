"""The table of requests, with the answer of the dedicated server, the ASGI mount and their event streams.

`{at}` in a target is where the pages are: at the root of the dedicated server, below the
WebSocket of a mount. Where the ASGI server answers before the application, or leaves it less than was sent,
the row says so.
"""

from __future__ import annotations

from flowcraft.adapters.http import FIELDS, HEAD_BYTES, TARGET_BYTES
from flowcraft.adapters.server_sent import BODY_BYTES
from tests.support.authority_rows import AUTHORITIES, UPGRADES
from tests.support.health_rows import HEALTH
from tests.support.request_rows import (
    BY_HOST,
    EMPTY,
    ERROR,
    EVENTS,
    FORBIDDEN,
    GET,
    H11,
    HANDSHAKE,
    KNOWN_HEADERS,
    LENGTH,
    LONG_HEAD,
    LONG_URI,
    NO_METHOD,
    NO_STREAM_METHOD,
    OK,
    OPTIONS,
    OPTIONS_STREAM,
    ORIGIN,
    OWN,
    PREFLIGHT,
    READABLE,
    SOCKET,
    STREAM,
    STREAM_HEAD,
    STREAMED,
    SUBSCRIBE,
    SWITCHED,
    TOO_LARGE,
    TOOLS,
    UNAUTHORIZED,
    UPGRADE,
    UPGRADE_HEAD,
    Answer,
    Row,
    chunked,
    head,
    posted,
    with_headers,
)
from tests.support.token_rows import TOKENS

VERSIONS: dict[str, Row] = {
    "HTTP/1.1": Row(head(GET), OK),
    "HTTP/1.0": Row(head("GET {at}/healthz HTTP/1.0"), OK),
    "HTTP/1.0 without Host": Row(head("GET {at}/readyz HTTP/1.0", host=None), OK),
    "HTTP/1.0, keep-alive": Row(head("GET {at}/healthz HTTP/1.0", "Connection: keep-alive", host=None), OK),
    "nginx's plain proxy_pass": Row(
        head("GET {at}/readyz HTTP/1.0", "Connection: close", host="Host: upstream"), OK
    ),
    "HTTP/1.0, a stream": Row(head(f"GET {EVENTS} HTTP/1.0", "Connection: close"), STREAM),
    "HTTP/1.0, a stream without Host": Row(head(f"GET {EVENTS} HTTP/1.0", host=None), STREAM),
    "HTTP/1.0, a POST": Row(posted(LENGTH, line="POST /realtime/events HTTP/1.0"), STREAM),
    "HTTP/1.0, a WebSocket without its fields": Row(
        head("GET /realtime HTTP/1.0", "Connection: close"), UPGRADE
    ),
    "HTTP/1.0, chunks": Row(
        posted("Transfer-Encoding: chunked", line="POST /realtime/events HTTP/1.0", body=b"0\r\n\r\n"),
        ERROR,
        {H11: 200, TOOLS: 200},
    ),
    "HTTP/2.0": Row(head("GET {at}/healthz HTTP/2.0"), Answer(505), {H11: 200, TOOLS: 200}),
    "HTTP/0.9": Row(b"GET {at}/healthz\r\n\r\n", ERROR, {H11: 400, TOOLS: 200}),
    "no Host": Row(head(GET, host=None), ERROR, {H11: 400}),
    "a stream without Host": Row(head(STREAMED, host=None), ERROR, {H11: 400}),
    "an empty line before": Row(b"\r\n" + head(GET), OK, {H11: 400}),
}
METHODS: dict[str, Row] = {
    "HEAD of a page": Row(head("HEAD {at}/healthz HTTP/1.1"), with_headers(EMPTY, {"content-length": "3"})),
    "HEAD of /readyz": Row(
        head("HEAD {at}/readyz HTTP/1.1"), with_headers(EMPTY, {"content-type": "application/json"})
    ),
    "HEAD in HTTP/1.0": Row(head("HEAD {at}/readyz HTTP/1.0", host=None), EMPTY),
    "HEAD of a stream": Row(head(f"HEAD {EVENTS} HTTP/1.1"), STREAM_HEAD),
    "HEAD of a stream of nothing": Row(head("HEAD /realtime/events HTTP/1.1"), Answer(400, "none")),
    "HEAD of the WebSocket": Row(head("HEAD /realtime HTTP/1.1"), UPGRADE_HEAD),
    "GET of the WebSocket": Row(head("GET /realtime HTTP/1.1"), UPGRADE),
    "OPTIONS of a page": Row(head("OPTIONS {at}/healthz HTTP/1.1"), OPTIONS),
    "OPTIONS of a stream": Row(head("OPTIONS /realtime/events HTTP/1.1"), OPTIONS_STREAM),
    "OPTIONS of the WebSocket": Row(head("OPTIONS /realtime HTTP/1.1"), OPTIONS),
    "OPTIONS *": Row(head("OPTIONS * HTTP/1.1"), OPTIONS),
    "POST to a page": Row(
        posted("Content-Length: 2", body=b"{}", line="POST {at}/healthz HTTP/1.1"), NO_METHOD
    ),
    "DELETE of a page": Row(head("DELETE {at}/readyz HTTP/1.1"), NO_METHOD),
    "POST to the WebSocket": Row(posted(LENGTH, line="POST /realtime HTTP/1.1"), NO_METHOD),
    "PUT to a stream": Row(head("PUT /realtime/events HTTP/1.1", "Content-Length: 0"), NO_STREAM_METHOD),
    "PATCH to a stream": Row(posted(LENGTH, line="PATCH /realtime/events HTTP/1.1"), NO_STREAM_METHOD),
    "TRACE": Row(head("TRACE {at}/healthz HTTP/1.1"), NO_METHOD),
    "a method of WebDAV": Row(head("PROPFIND {at}/healthz HTTP/1.1"), NO_METHOD),
    "an unknown method": Row(head("BREW {at}/healthz HTTP/1.1"), NO_METHOD, {TOOLS: 400}),
    "a method in lower case": Row(head("get {at}/healthz HTTP/1.1"), NO_METHOD, {TOOLS: 400}),
    "no method": Row(head(" {at}/healthz HTTP/1.1"), ERROR, BY_HOST),
    "CONNECT": Row(head("CONNECT here.example:443 HTTP/1.1"), ERROR, {H11: 405, TOOLS: 400}),
}
PROXY_FIELDS = (
    "Cookie: name=caf\xe9; other=\xff\x80",
    "X-Forwarded-For: 10.0.0.1, \xe4\xf6\xfc",
    "X-Forwarded-Host: b\xfccher.example",
    "X-Forwarded-Proto: https",
    "X-Real-IP: ::1",
    'Forwarded: for="[2001:db8::1]";proto=https',
    "Via: 1.1 na\xefve",
    "User-Agent: Mozilla/5.0 \xa9",
    "X-Request-ID: \x80",
    "Referer: http://there/\xe9",
    "X-Empty:",
    "X-Tab:\ta\tb\t",
    "Priority: u=1, i",
    "Sec-Fetch-Mode: websocket",
    "Accept-Language: de, en;q=0.5",
)
FIELD_ROWS: dict[str, Row] = {
    "a page with a proxy's fields": Row(head(GET, *PROXY_FIELDS), OK),
    "a stream with a proxy's fields": Row(head(STREAMED, *PROXY_FIELDS), STREAM),
    "a POST with a proxy's fields": Row(posted(*PROXY_FIELDS, LENGTH), STREAM),
    "a WebSocket with a proxy's fields": Row(head(SOCKET, *HANDSHAKE, *PROXY_FIELDS), SWITCHED),
    "UTF-8 in a cookie": Row(head(STREAMED, "Cookie: n=\xc3\xa9\xe2\x82\xac"), STREAM),
    "a token outside of ASCII": Row(head(STREAMED, "Authorization: Bearer \xe9"), UNAUTHORIZED),
    "Last-Event-ID outside of ASCII": Row(head(STREAMED, "Last-Event-ID: \xe9"), STREAM),
    "a folded line": Row(head(GET, "a: b", " c"), ERROR, {H11: 200, TOOLS: 400}),
    "a space before the colon": Row(head(GET, "a : b"), ERROR, BY_HOST),
    "no name": Row(head(GET, ": b"), ERROR, BY_HOST),
    "a name outside of ASCII": Row(head(GET, "caf\xe9: b"), ERROR, BY_HOST),
    "NUL in a value": Row(head(GET, "a: \0"), ERROR, BY_HOST),
    "bare LF": Row(b"GET {at}/healthz HTTP/1.1\nHost: here\n\n", ERROR, {H11: 200, TOOLS: 400}),
    "a bare CR": Row(head(GET, "a: b\rc: d"), ERROR, BY_HOST),
    "a head over the limit": Row(head(GET, "a: " + "b" * HEAD_BYTES), LONG_HEAD),
    "200 KB of head": Row(head(GET, "a: " + "b" * 200_000), LONG_HEAD, {H11: 0}),
    "a stream's head over the limit": Row(head(STREAMED, "a: " + "b" * HEAD_BYTES), LONG_HEAD),
    "too many fields": Row(head(GET, *["a: b"] * FIELDS), LONG_HEAD),
    "as many fields as there may be": Row(head(GET, *["a: b"] * (FIELDS - 1)), OK),
    "16 KiB of cookies": Row(head(STREAMED, *[f"Cookie: n{n}={'v' * 4000}" for n in range(4)]), STREAM),
    "a target over the limit": Row(head(f"GET {EVENTS}&since={'1' * TARGET_BYTES} HTTP/1.1"), LONG_URI),
    "keep-alive": Row(head(GET, "Connection: keep-alive"), OK),
    "close": Row(head(GET, "Connection: close"), OK),
    "h2c": Row(
        head(GET, "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk"), OK
    ),
    "h2c at the WebSocket": Row(head(SOCKET, "Upgrade: h2c", "Connection: Upgrade"), UPGRADE),
    "pipelined requests": Row(head(GET) + head(GET), OK),
    "TLS": Row(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", ERROR, BY_HOST),
}
CONTENT: dict[str, Row] = {
    "a POST": Row(posted(LENGTH), STREAM),
    "a POST, leading zeros": Row(posted(f"Content-Length: 000{len(SUBSCRIBE)}"), STREAM),
    "a GET, Content-Length: 0": Row(head(STREAMED, "Content-Length: 0"), STREAM),
    "a GET, Content-Length: 00": Row(head(STREAMED, "Content-Length: 00"), STREAM),
    "a page, Content-Length: 0": Row(head(GET, "Content-Length: 0"), OK),
    "a page with content": Row(head(GET, "Content-Length: 2", body=b"{}"), OK),
    "a WebSocket, Content-Length: 0": Row(head(SOCKET, *HANDSHAKE, "Content-Length: 0"), SWITCHED),
    "a GET with content": Row(head(STREAMED, "Content-Length: 2", body=b"{}"), ERROR),
    "a POST without a length": Row(head(f"POST {EVENTS} HTTP/1.1"), STREAM),
    "a POST, Content-Length: 0": Row(head(f"POST {EVENTS} HTTP/1.1", "Content-Length: 0"), STREAM),
    "two equal lengths": Row(posted(LENGTH, LENGTH), STREAM, {TOOLS: 400}),
    "a list of equal lengths": Row(posted(f"{LENGTH}, {len(SUBSCRIBE)}"), STREAM, {TOOLS: 400}),
    "two different lengths": Row(posted(LENGTH, "Content-Length: 5"), ERROR, BY_HOST),
    "a list of different lengths": Row(posted(f"{LENGTH}, 5"), ERROR, BY_HOST),
    "no digits": Row(posted("Content-Length: five"), ERROR, BY_HOST),
    "a plus": Row(posted("Content-Length: +5"), ERROR, BY_HOST),
    "a minus": Row(posted("Content-Length: -1"), ERROR, BY_HOST),
    "hexadecimal": Row(posted("Content-Length: 0x5"), ERROR, BY_HOST),
    "a fraction": Row(posted("Content-Length: 5.0"), ERROR, BY_HOST),
    "an empty length": Row(posted("Content-Length:"), ERROR, BY_HOST),
    "a length over the limit": Row(posted(f"Content-Length: {BODY_BYTES + 1}"), TOO_LARGE),
    "a huge length": Row(posted("Content-Length: " + "9" * 18), TOO_LARGE),
    "a length of 400 digits": Row(posted("Content-Length: " + "9" * 400), ERROR, BY_HOST),
    "a body over the limit": Row(
        posted(f"Content-Length: {2 * BODY_BYTES}", body=b"x" * 2 * BODY_BYTES), TOO_LARGE
    ),
    "a message over the limit": Row(posted("Content-Length: 70000", body=b"x" * 70_000), TOO_LARGE),
    "a body that is not UTF-8": Row(posted("Content-Length: 1", body=b"\xff"), ERROR),
    "chunks": Row(chunked(SUBSCRIBE), STREAM),
    "small chunks": Row(chunked(*(bytes([byte]) for byte in SUBSCRIBE)), STREAM),
    "Chunked in another case": Row(posted("Transfer-Encoding: Chunked", body=b"0\r\n\r\n"), STREAM),
    "a chunk's extension": Row(
        posted("Transfer-Encoding: chunked", body=b"2;a=b\r\n{}\r\n0\r\n\r\n"), STREAM
    ),
    "a trailer": Row(chunked(SUBSCRIBE, end=b"0\r\nX-Sum: 1\r\n\r\n"), STREAM),
    "no chunks": Row(chunked(), STREAM),
    "chunks over the limit": Row(chunked(*[b"x" * 65_536] * 5), TOO_LARGE),
    "a GET with chunks": Row(
        head(STREAMED, "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"), ERROR
    ),
    "a malformed chunk": Row(posted("Transfer-Encoding: chunked", body=b"x\r\n{}\r\n"), ERROR, BY_HOST),
    "a chunk longer than it says": Row(
        posted("Transfer-Encoding: chunked", body=b"1\r\n{}\r\n0\r\n\r\n"), ERROR, BY_HOST
    ),
    "chunks and a length": Row(
        posted("Transfer-Encoding: chunked", "Content-Length: 5", body=b"0\r\n\r\n"),
        ERROR,
        {H11: 200, TOOLS: 400},
    ),
    "a coding that is not known": Row(posted("Transfer-Encoding: gzip"), Answer(501), BY_HOST),
    "two codings": Row(posted("Transfer-Encoding: gzip, chunked"), Answer(501), BY_HOST),
    "Expect": Row(posted("Expect: 100-continue", LENGTH), STREAM),
    "an unknown Expect": Row(posted("Expect: more", LENGTH), STREAM),
}
HOSTS: dict[str, Row] = {
    f"Host: {name}, Origin: {origin}": Row(
        head(STREAMED, f"Origin: {origin}", host=f"Host: {name}"),
        with_headers(
            STREAM, {"access-control-allow-origin": origin, "access-control-allow-credentials": None}
        )
        if allowed
        else FORBIDDEN,
        settings=OWN,
    )
    for name, origin, allowed in [
        ("here.example", "http://here.example", True),
        ("here.example:80", "http://here.example", True),
        ("here.example:443", "https://here.example", True),
        ("here.example", "https://here.example:443", True),
        ("here.example:", "https://here.example", True),
        ("here.example:8400", "http://here.example:8400", True),
        ("HERE.Example", "http://here.example", True),
        ("here.example", "HTTP://HERE.example", True),
        ("here.example.", "http://here.example", True),
        ("here.example", "http://here.example.", True),
        ("[::1]:8400", "http://[::1]:8400", True),
        ("[0:0::1]", "http://[::1]", True),
        ("[::1]:80", "http://[::1]", True),
        ("127.0.0.1:8400", "http://127.0.0.1:8400", True),
        ("here_too:8400", "http://here_too:8400", True),
        ("xn--bcher-kva.example", "https://xn--bcher-kva.example", True),
        ("here.example:443", "http://here.example", False),
        ("here.example:80", "https://here.example", False),
        ("here.example", "http://here.example:8400", False),
        ("here.example", "http://here.example.evil.example", False),
        ("here.example", "http://evil.example", False),
        ("here.example", "null", False),
        ("here.example", "", False),
        ("here.example", "here.example", False),
        ("here.example", "http://", False),
        ("here.example", "http://here.example/", False),
        ("here.example", "http://here.example/path", False),
        ("here.example", "http://me@here.example", False),
        ("here.example", "http://[", False),
        ("here.example", "http://here.example, http://here.example", False),
        ("here.example", "http://b\xfccher", False),
        ("", "http://", False),
        (".", "http://.", False),
    ]
} | {
    "two Hosts": Row(head(GET, "Host: here.example"), ERROR, {H11: 400}),
    "a stream's two Hosts": Row(head(STREAMED, "Host: here.example"), ERROR, {H11: 400}),
    "a malformed Host": Row(head(GET, host="Host: ["), ERROR),
    "a Host with a path": Row(head(STREAMED, host="Host: here/there"), ERROR),
    "a Host outside of ASCII": Row(head(STREAMED, host="Host: b\xfccher"), ERROR),
    "an empty Host": Row(head(STREAMED, host="Host:"), STREAM),
    "two Origins": Row(head(STREAMED, ORIGIN, ORIGIN), FORBIDDEN),
    "two Origins at a WebSocket": Row(head(SOCKET, *HANDSHAKE, ORIGIN, ORIGIN), FORBIDDEN, BY_HOST),
}
TARGETS: dict[str, Row] = {
    "a slash after the WebSocket": Row(head("GET /realtime/ HTTP/1.1", *HANDSHAKE), SWITCHED),
    "a slash after a page": Row(head("GET {at}/healthz/ HTTP/1.1"), OK),
    "a slash after a stream": Row(head("GET /realtime/events/?channel=ping_update HTTP/1.1"), STREAM),
    "two slashes before": Row(head("GET //realtime HTTP/1.1", *HANDSHAKE), SWITCHED),
    "two slashes inside": Row(head("GET /realtime//events?channel=ping_update HTTP/1.1"), STREAM),
    "an encoded letter": Row(head("GET /%72ealtime/event%73?channel=ping_update HTTP/1.1"), STREAM),
    "an encoded channel": Row(head("GET /realtime/events?channel=ping%5Fupdate HTTP/1.1"), STREAM),
    "a broken encoding": Row(head(f"GET {EVENTS}&since=%zz%f HTTP/1.1"), STREAM),
    "a base path": Row(head(f"GET /api/v1{EVENTS} HTTP/1.1"), STREAM),
    "a base path of the WebSocket": Row(head("GET /api/realtime HTTP/1.1", *HANDSHAKE), SWITCHED),
    "an absolute target": Row(head("GET http://here.example{at}/healthz HTTP/1.1"), OK),
    "an absolute target of a stream": Row(head(f"GET http://here.example{EVENTS} HTTP/1.1"), STREAM),
    "a fragment": Row(head("GET {at}/healthz#a HTTP/1.1"), ERROR, {H11: 426, TOOLS: 200}),
    "no slash": Row(head("GET healthz HTTP/1.1"), ERROR, {H11: 426, TOOLS: 400}),
    "outside of ASCII": Row(head("GET /caf\xe9 HTTP/1.1"), ERROR, BY_HOST),
    "a control character": Row(head("GET /\x01 HTTP/1.1"), ERROR, BY_HOST),
    "a space": Row(head("GET /real time HTTP/1.1"), ERROR, BY_HOST),
    "a token in the URL": Row(head(f"GET {EVENTS}&token=a HTTP/1.1"), ERROR),
    "a stream of nothing": Row(head("GET /realtime/events HTTP/1.1"), ERROR),
}
SOCKETS: dict[str, Row] = {
    "a handshake": Row(head(SOCKET, *HANDSHAKE), SWITCHED),
    "WebSocket in another case": Row(head(SOCKET, "Upgrade: WebSocket", *HANDSHAKE[1:]), SWITCHED),
    "as Firefox sends it": Row(
        head(SOCKET, HANDSHAKE[0], "Connection: keep-alive, Upgrade", *HANDSHAKE[2:]), SWITCHED
    ),
    "upgrade in lower case": Row(head(SOCKET, HANDSHAKE[0], "Connection: upgrade", *HANDSHAKE[2:]), SWITCHED),
    "of a listed origin": Row(head(SOCKET, *HANDSHAKE, ORIGIN), SWITCHED),
    "of a listed origin, its port named": Row(head(SOCKET, *HANDSHAKE, f"{ORIGIN}:443"), SWITCHED),
    "of another origin": Row(head(SOCKET, *HANDSHAKE, "Origin: https://evil.example"), FORBIDDEN),
    "no Connection": Row(head(SOCKET, HANDSHAKE[0], *HANDSHAKE[2:]), UPGRADE),
    "another version": Row(
        head(SOCKET, *HANDSHAKE[:2], "Sec-WebSocket-Version: 8", HANDSHAKE[3]), UPGRADE, BY_HOST
    ),
    "no key": Row(head(SOCKET, *HANDSHAKE[:3]), ERROR, BY_HOST),
    "a short key": Row(head(SOCKET, *HANDSHAKE[:3], "Sec-WebSocket-Key: AAAA"), ERROR, BY_HOST),
} | {
    f"the offer {offer!r}": Row(head(SOCKET, *HANDSHAKE, f"Sec-WebSocket-Extensions: {offer}"), SWITCHED)
    for offer in (
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "Permessage-Deflate ; client_max_window_bits = 15",
        'permessage-deflate; server_max_window_bits="10"',
        "x-webkit-deflate-frame",
        "bbf-usp-protocol, permessage-deflate",
    )
}
ASKED = "Access-Control-Request-Method: "
CORS: dict[str, Row] = {
    "a preflight": Row(
        head(
            "OPTIONS /realtime/events HTTP/1.1",
            ORIGIN,
            f"{ASKED}GET",
            "Access-Control-Request-Headers: authorization,last-event-id",
        ),
        PREFLIGHT,
    ),
    "a preflight for a POST": Row(
        head(
            "OPTIONS /realtime/events HTTP/1.1",
            ORIGIN,
            f"{ASKED}POST",
            "Access-Control-Request-Headers: content-type",
        ),
        PREFLIGHT,
    ),
    "a preflight without headers": Row(
        head("OPTIONS /realtime/events HTTP/1.1", ORIGIN, f"{ASKED}POST"), PREFLIGHT
    ),
    "a preflight of a tracing page": Row(
        head(
            "OPTIONS /realtime/events HTTP/1.1",
            ORIGIN,
            f"{ASKED}POST",
            "Access-Control-Request-Headers: authorization, traceparent",
        ),
        with_headers(
            PREFLIGHT,
            {
                "access-control-allow-headers": f"{KNOWN_HEADERS}, traceparent",
            },
        ),
    ),
    "a preflight from a public network": Row(
        head(
            "OPTIONS /realtime/events HTTP/1.1",
            ORIGIN,
            f"{ASKED}POST",
            "Access-Control-Request-Private-Network: true",
        ),
        with_headers(PREFLIGHT, {"access-control-allow-private-network": "true"}),
    ),
    "a preflight from another origin": Row(
        head("OPTIONS /realtime/events HTTP/1.1", "Origin: https://evil.example", f"{ASKED}POST"), FORBIDDEN
    ),
    "a preflight of a page": Row(
        head("OPTIONS {at}/readyz HTTP/1.1", ORIGIN, f"{ASKED}GET"),
        with_headers(PREFLIGHT, {"access-control-allow-methods": "GET, HEAD, OPTIONS"}),
    ),
    "a stream": Row(head(STREAMED, ORIGIN), with_headers(STREAM, READABLE)),
    "a POST": Row(posted(ORIGIN, LENGTH), with_headers(STREAM, READABLE)),
    "a page": Row(head(GET, ORIGIN), with_headers(OK, READABLE)),
    "a page of another origin": Row(
        head(GET, "Origin: https://evil.example"), with_headers(OK, {"access-control-allow-origin": None})
    ),
    "a refused token": Row(head(f"GET {EVENTS}&token=a HTTP/1.1", ORIGIN), with_headers(ERROR, READABLE)),
    "a stream of nothing": Row(head("GET /realtime/events HTTP/1.1", ORIGIN), with_headers(ERROR, READABLE)),
    "a long body": Row(
        posted(ORIGIN, f"Content-Length: {BODY_BYTES + 1}"), with_headers(TOO_LARGE, READABLE)
    ),
    "another method": Row(
        head("PUT /realtime/events HTTP/1.1", ORIGIN), with_headers(NO_STREAM_METHOD, READABLE)
    ),
    "a long query": Row(
        head(f"GET {EVENTS}&since={'1' * 8190} HTTP/1.1", ORIGIN), with_headers(LONG_URI, READABLE)
    ),
    "no handshake": Row(head(SOCKET, ORIGIN), with_headers(UPGRADE, READABLE)),
}
TABLE = {
    f"{kind}: {name}": row
    for kind, rows in {
        "health": HEALTH,
        "version": VERSIONS, "method": METHODS, "field": FIELD_ROWS, "content": CONTENT,
        "host": HOSTS, "target": TARGETS, "socket": SOCKETS, "cors": CORS, "token": TOKENS,
        "authority": AUTHORITIES, "upgrade": UPGRADES,
    }.items()
    for name, row in rows.items()
}  # fmt: skip
