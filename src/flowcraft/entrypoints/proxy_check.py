"""Proxy check: what a browser would meet on its way to a server, and what to change in a proxy."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from flowcraft.entrypoints.diagnosis import DiagnosisLine
from flowcraft.entrypoints.login_check import refusal_of
from flowcraft.entrypoints.plain_http import (
    HttpAnswer,
    NoAnswer,
    NoConnection,
    WebSocketAddress,
    handshake,
    request,
)

FRAME_SECONDS = 5.0
"""The first frame comes at once; one that takes longer is held back somewhere."""
GUIDE = "see docs/guides/proxies.md"
UPGRADE = (
    "nginx: `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "
    '"upgrade";`, HAProxy: no `del-header Upgrade`, Caddy: no `header_up -Upgrade`'
)
HOST = (
    "nginx: `proxy_set_header Host $http_host;` (`$host` has no port), Caddy and HAProxy: leave Host as it "
    "is; or list the origin in allowed_origins"
)
BUFFERS = (
    "nginx: `proxy_buffering off;`, and no `proxy_ignore_headers X-Accel-Buffering`, HAProxy: no "
    "`http-response wait-for-body`, Caddy: `flush_interval -1`"
)
TIMEOUTS = (
    "nginx: `proxy_read_timeout` and `proxy_send_timeout`, HAProxy: `timeout tunnel`, `timeout client` and "
    "`timeout server`, Caddy: `read_timeout`, to three times the heartbeat"
)
COMPRESSION = (
    "nginx: `gzip_types` without it, HAProxy: `compression type` without it, Caddy: `encode` with a matcher"
)
PREFIX = (
    "nginx: `proxy_pass http://server/realtime;` replaces the path of its location, Caddy: "
    "`uri strip_prefix`, HAProxy: `http-request replace-path`"
)
FILTER = (
    "a content filter, virus scanner or gateway that does not know WebSockets; over wss:// most let them "
    "through, or exempt this address. Browsers use the event stream, if it passes"
)
_QUIET_PART = 0.8
"""A silence of this part of the heartbeat is one: heartbeats come in slices, and the network delays them."""
_PING, _PONG = 9, 10
_PROBE = bytes((0x80 | _PING, 0x80, 0, 0, 0, 0))
"""An empty ping with the mask of a client (RFC 6455 §5.5.2); servers answer it before a token too."""


async def check_way(
    url: str, *, idle: bool = True, origin: str | None = None, token: str | None = None
) -> list[DiagnosisLine]:
    """Open a WebSocket and an event stream as a page of `origin` would, which is the server's own by default.

    With `idle`, wait for two heartbeats on both.
    """
    address = replace(WebSocketAddress.parse(url), page=origin, token=token)
    try:
        found = await _check_websocket(address)
    except NoConnection as error:
        return [DiagnosisLine("connection", "wrong", str(error))]
    found += await _guarded("event stream", _check_stream(address))
    if idle:
        open_ones = [one.about for one in found if one.verdict == "ok"]
        checks = [_guarded("idle time", _check_idle(address, about)) for about in open_ones]
        found += [one for ones in await asyncio.gather(*checks) for one in ones]
    return found


async def _guarded(about: str, check: Awaitable[list[DiagnosisLine]]) -> list[DiagnosisLine]:
    try:
        return await check
    except (NoAnswer, NoConnection) as error:
        return [DiagnosisLine(about, "wrong", str(error))]
    except (OSError, EOFError) as error:
        return [DiagnosisLine(about, "wrong", f"the connection broke: {str(error) or type(error).__name__}")]


# the WebSocket


async def _check_websocket(address: WebSocketAddress) -> list[DiagnosisLine]:
    about = "websocket"
    try:
        status, sentence = await _open(address, {"Origin": address.origin})
        if status == 403 and address.page is None:
            without, _ = await _open(address, {})
            if without == 101:
                sentence = f"403 for a page of {address.origin}, and 101 without an Origin: the server sees "
                sentence += f"another Host than the browser; {HOST}"
    except (NoAnswer, OSError, EOFError) as error:
        sentence = f"{str(error) or type(error).__name__}; {UPGRADE}"
    if sentence:
        return [DiagnosisLine(about, "wrong", sentence)]
    return [DiagnosisLine(about, "ok", "opens, sends hello, and answers a ping")]


async def _open(address: WebSocketAddress, headers: dict[str, str]) -> tuple[int, str]:
    """Return the status of a handshake, and what is wrong; empty if nothing is."""
    opening, accept = handshake(headers)
    async with request(address, _target(address), opening) as answer:
        if answer.status != 101:
            return answer.status, _refusal(address, answer)
        if answer.headers.get("sec-websocket-accept") != accept:
            return 101, "101 with the Sec-WebSocket-Accept of another request: a cache answers"
        return 101, await _judge_frames(answer)


async def _judge_frames(answer: HttpAnswer) -> str:
    """Return what is wrong with an open WebSocket, in either direction; empty if nothing is."""
    within = f"within {FRAME_SECONDS:g} s"
    try:
        async with asyncio.timeout(FRAME_SECONDS):
            _, content = await _read_frame(answer.reader)
    except TimeoutError:
        return f"101, and no frame {within}: something on the way passes none: {FILTER}"
    except (asyncio.IncompleteReadError, ConnectionError):
        return f"101, and the connection ended before the first frame: something on the way ends it: {FILTER}"
    if b'"hello"' not in content:
        return "101, and its first frame is no hello: this is another WebSocket; is the path right?"
    answer.writer.write(_PROBE)
    try:
        async with asyncio.timeout(FRAME_SECONDS):
            while (await _read_frame(answer.reader))[0] != _PONG:
                pass
    except TimeoutError:
        return f"101 and hello, and no pong {within}: frames of the client are not passed: {FILTER}"
    except (asyncio.IncompleteReadError, ConnectionError):
        return f"101 and hello, and the connection ended at the client's first frame: {FILTER}"
    return ""


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the opcode and the content of the next frame (RFC 6455 §5.2)."""
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length >= 126:
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
    return first & 0x0F, await reader.readexactly(length)


def _refusal(address: WebSocketAddress, answer: HttpAnswer) -> str:
    """Return what an answer to a handshake other than 101 means."""
    status, given = answer.status, f"{answer.status} ({answer.first_line})"
    if 300 <= status < 400:
        return _redirected(address, status, answer.headers.get("location", ""))
    if status == 400 and "HTTPS port" in answer.text:
        return f"{given}: the port expects TLS; use wss://"
    if answer.is_page and status in (200, 403):
        return (
            f"{given}: a page for browsers, such as a login or the application's own; let {address.path} pass"
        )
    for statuses, meaning in _meanings(address, answer):
        if status in statuses:
            return f"{given}: {meaning}"
    return f"{given} in place of 101; {GUIDE}"


def _meanings(address: WebSocketAddress, answer: HttpAnswer) -> Iterator[tuple[Sequence[int], str]]:
    server = answer.headers.get("server", "")
    yield (401, 407), "the proxy wants credentials, which a WebSocket of a browser does not send; let it pass"
    if address.page is None:
        yield (403,), f"list the origin {address.origin} in allowed_origins, or {HOST}"
    yield (403,), f'pages of {address.page} need Settings(allowed_origins=("{address.page}",))'
    yield (404,), f"nothing is at {address.path}; which path does the proxy send? {PREFIX}"
    if "service unavailable: " in answer.text:
        yield (503,), "the server is not ready; see its /readyz"
    yield (502, 503, 504), f"the proxy {server} does not reach the server; is the address behind it right?"
    yield (200, 400, 405, 426, 505), f"the request arrived without its upgrade; {UPGRADE}"


def _redirected(address: WebSocketAddress, status: int, where: str) -> str:
    if where.startswith("https://") and not address.secure:
        return f"{status} to {where}: browsers follow no redirect of a WebSocket; use wss://"
    if any(word in where.lower() for word in ("login", "signin", "sign-in", "auth", "sso")):
        return f"{status} to {where}: a login answers in place of the server; let {address.path} pass"
    if where.rstrip("/").endswith(address.path.rstrip("/")):
        return f"{status} to {where}: the path has a slash too many or too few; use that of the redirect"
    return f"{status} to {where}: browsers follow no redirect of a WebSocket; name its address itself"


# the event stream


async def _check_stream(address: WebSocketAddress) -> list[DiagnosisLine]:
    about = "event stream"
    try:
        async with request(
            address, _stream_target(address), _stream_headers(address), streams=True
        ) as answer:
            sentence = await _judge_stream(address, answer)
    except NoAnswer as error:
        sentence = f"{error}: the proxy buffers it; {BUFFERS}"
    if sentence:
        return [DiagnosisLine(about, "wrong", sentence)]
    return [DiagnosisLine(about, "ok", "opens, and sends hello at once")]


async def _judge_stream(address: WebSocketAddress, answer: HttpAnswer) -> str:
    """Return what is wrong with an event stream; empty if nothing is."""
    if answer.status == 401 and refusal_of(answer.text) is not None:
        return ""  # this server's: it wants a token, which `flowcraft.entrypoints.login_check` reports
    if answer.status == 403:
        return _refusal(address, answer)
    if answer.status != 200 or "text/event-stream" not in answer.headers.get("content-type", ""):
        below, given = address.path.rstrip("/"), f"{answer.status} ({answer.first_line})"
        return f"{given} in place of a stream at {below}/events; pass the paths below {below} too, {GUIDE}"
    encoding = answer.headers.get("content-encoding", "identity")
    if encoding != "identity":
        sentence = f"the proxy compresses it ({encoding}) and may hold events back; exclude text/event-stream"
        return f"{sentence}: {COMPRESSION}"
    with suppress(TimeoutError):
        async with asyncio.timeout(FRAME_SECONDS):
            async for part in _parts(answer):
                if b'"hello"' in part:
                    return ""
    return f"nothing came within {FRAME_SECONDS:g} s: the proxy buffers it; {BUFFERS}"


def _stream_headers(address: WebSocketAddress) -> dict[str, str]:
    token = {} if address.token is None else {"Authorization": f"Bearer {address.token}"}
    return {"Accept": "text/event-stream", "Accept-Encoding": "gzip", "Origin": address.origin, **token}


async def _parts(answer: HttpAnswer) -> AsyncIterator[bytes]:
    """Yield what arrives: a frame that is looked for is in one part."""
    while part := await answer.reader.read(65536):
        yield part


# idle connections


async def _idle_websocket(address: WebSocketAddress) -> AsyncGenerator[bytes]:
    opening, _ = handshake({"Origin": address.origin})
    async with request(address, _target(address), opening) as answer:
        while True:
            opcode, content = await _read_frame(answer.reader)
            if opcode == _PING:  # the server closes a connection that answers none
                answer.writer.write(bytes((0x8A, 0x80 | len(content), 0, 0, 0, 0)) + content)
            yield content


async def _idle_stream(address: WebSocketAddress) -> AsyncGenerator[bytes]:
    async with request(address, _stream_target(address), _stream_headers(address), streams=True) as answer:
        async for part in _parts(answer):
            yield part


_IDLE: Mapping[str, Callable[[WebSocketAddress], AsyncGenerator[bytes]]] = {
    "websocket": _idle_websocket,
    "event stream": _idle_stream,
}


async def _check_idle(address: WebSocketAddress, about: str) -> list[DiagnosisLine]:
    """Wait for a silence as long as the heartbeat: one of the first two is."""
    heartbeat = 25.0
    began = silent_since = time.monotonic()
    received = _IDLE[about](address)
    what = "was ended"
    try:
        while True:
            async with asyncio.timeout(2 * heartbeat):
                part = await anext(received)
            now = time.monotonic()
            heartbeat = _heartbeat(part) or heartbeat
            silence, silent_since = now - silent_since, now
            if silence >= _QUIET_PART * heartbeat or now - began > 3 * heartbeat:
                return []
    except TimeoutError:
        what = "is open, and nothing comes any more"
    except (StopAsyncIteration, asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        await received.aclose()
    silence = time.monotonic() - silent_since
    sentence = f"{about}: the connection {what} after {silence:.1f} s without traffic; the heartbeat is "
    return [DiagnosisLine("idle time", "wrong", f"{sentence}{heartbeat:g} s; raise {TIMEOUTS}")]


def _heartbeat(received: bytes) -> float | None:
    """Return the heartbeat in seconds, if this is the `hello` that names it."""
    start = received.find(b'{"hello"')
    if start < 0:
        return None
    with suppress(ValueError):
        hello, _ = json.JSONDecoder().raw_decode(received[start:].decode("utf-8", "replace"))
        seconds = hello["hello"].get("heartbeat")
        return float(seconds) if isinstance(seconds, int | float) else None
    return None


def _target(address: WebSocketAddress) -> str:
    return f"{address.path}?{address.query}" if address.query else address.path


def _stream_target(address: WebSocketAddress) -> str:
    return f"{address.path.rstrip('/')}/events?channel=system"
