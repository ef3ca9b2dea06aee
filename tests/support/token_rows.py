"""Rows of the table of requests: event streams of a server that wants tokens."""

from __future__ import annotations

from dataclasses import replace

import jwt

from tests.support.carriers import SECRET
from tests.support.request_rows import (
    EVENTS,
    FORBIDDEN,
    GET,
    HANDSHAKE,
    LENGTH,
    OK,
    ORIGIN,
    PREFLIGHT,
    READABLE,
    SOCKET,
    STREAM,
    STREAM_HEAD,
    STREAMED,
    SUBSCRIBE,
    SWITCHED,
    UNAUTHORIZED,
    UNAUTHORIZED_HEAD,
    WITH_TOKENS,
    Row,
    chunked,
    head,
    posted,
    with_headers,
)

BODY_TOKEN = b'{"auth":"%b"}\n' + SUBSCRIBE


def token(secret: str = SECRET, **claims: int) -> str:
    return jwt.encode({"sub": "ann", "exp": 2**33, **claims}, secret)


def bearing(text: str, method: str = "GET", scheme: str = "Bearer") -> bytes:
    return head(f"{method} {EVENTS} HTTP/1.1", f"Authorization: {scheme} {text}", ORIGIN)


def with_token(text: str, *fields: str) -> bytes:
    content = BODY_TOKEN % text.encode()
    return posted(f"Content-Length: {len(content)}", ORIGIN, *fields, body=content)


REFUSED_TOKEN = with_headers(UNAUTHORIZED, READABLE)
ACCEPTED_TOKEN = with_headers(STREAM, READABLE)
TOKENS = {
    name: replace(row, settings=WITH_TOKENS)
    for name, row in {
        "none": Row(head(STREAMED), UNAUTHORIZED),
        "none of a page": Row(head(STREAMED, ORIGIN), REFUSED_TOKEN),
        "none in a HEAD": Row(head(f"HEAD {EVENTS} HTTP/1.1"), UNAUTHORIZED_HEAD),
        "none in a POST": Row(posted(LENGTH, ORIGIN), REFUSED_TOKEN),
        "none in an empty POST": Row(posted("Content-Length: 0", ORIGIN, body=b""), ACCEPTED_TOKEN),
        "none in chunks": Row(chunked(SUBSCRIBE), UNAUTHORIZED),
        "of another scheme": Row(bearing(token(), scheme="Basic"), REFUSED_TOKEN),
        "empty": Row(bearing(""), REFUSED_TOKEN),
        "nonsense": Row(bearing("nonsense"), REFUSED_TOKEN),
        "nonsense in a HEAD": Row(bearing("nonsense", "HEAD"), with_headers(UNAUTHORIZED_HEAD, READABLE)),
        "of another key": Row(bearing(token("x" * 32)), REFUSED_TOKEN),
        "expired": Row(bearing(token(exp=1)), REFUSED_TOKEN),
        "not yet valid": Row(bearing(token(nbf=2**32)), REFUSED_TOKEN),
        "good": Row(bearing(token()), ACCEPTED_TOKEN),
        "good in lower case": Row(bearing(token(), scheme="bearer"), ACCEPTED_TOKEN),
        "good in a HEAD": Row(bearing(token(), "HEAD"), with_headers(STREAM_HEAD, READABLE)),
        "good in the content": Row(with_token(token()), ACCEPTED_TOKEN),
        "good in chunks": Row(chunked(BODY_TOKEN % token().encode()), STREAM),
        "nonsense in the content": Row(with_token("nonsense"), ACCEPTED_TOKEN),
        "nonsense before a good one": Row(
            with_token(token(), "Authorization: Bearer nonsense"), REFUSED_TOKEN
        ),
        "of another origin": Row(
            head(STREAMED, "Origin: https://evil.example", f"Authorization: Bearer {token()}"), FORBIDDEN
        ),
        "for a page": Row(head(GET), OK),
        "for a preflight": Row(
            head("OPTIONS /realtime/events HTTP/1.1", ORIGIN, "Access-Control-Request-Method: POST"),
            PREFLIGHT,
        ),
        "for a socket": Row(head(SOCKET, *HANDSHAKE), SWITCHED),
    }.items()
}
