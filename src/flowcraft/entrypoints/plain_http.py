"""Plain HTTP: one request on a connection of its own, and its answer as it is, for `flowcraft doctor`."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

OPEN_SECONDS = 5.0
ANSWER_SECONDS = 5.0
_HEAD_BYTES = 64 * 1024
_BODY_BYTES = 2000
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class NoConnection(Exception):
    """There is no connection; the text has the reason and what to change."""


class NoAnswer(Exception):
    """There is a connection, and no answer of HTTP on it; the text has the reason and what to change."""


@dataclass(frozen=True, slots=True)
class WebSocketAddress:
    """Where a WebSocket is."""

    secure: bool
    host: str
    port: int
    authority: str
    """Host and port as a browser sends them."""
    path: str
    query: str
    page: str | None = None
    """The origin of the page that connects; None for one on the same host."""
    token: str | None = field(default=None, repr=False)
    """The token that the client of an event stream has."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Return the parts of a URL of the schemes ws and wss.

        Raises:
            ValueError: it is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.username is not None:
            raise ValueError(url)
        secure = parts.scheme == "wss"
        host = parts.hostname.encode("idna").decode() if not parts.hostname.isascii() else parts.hostname
        port = parts.port or (443 if secure else 80)
        bracketed = f"[{host}]" if ":" in host else host
        authority = bracketed if port == (443 if secure else 80) else f"{bracketed}:{port}"
        if any(not "!" <= one <= "~" for one in host + parts.path + parts.query):
            raise ValueError(url)
        return cls(secure, host, port, authority, parts.path or "/", parts.query)

    @property
    def origin(self) -> str:
        """The origin of the page."""
        return self.page or f"{'https' if self.secure else 'http'}://{self.authority}"


@dataclass(slots=True)
class HttpAnswer:
    """The head of an answer, and the connection on which its content comes."""

    status: int
    headers: Mapping[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter = field(repr=False)
    text: str = ""
    """The beginning of the content of an answer that is no stream."""

    @property
    def first_line(self) -> str:
        """The first line of the content, for a report."""
        text = self.text
        if self.is_page:
            title = re.search(r"<title>([^<]*)", text, re.IGNORECASE)
            text = "an HTML page" if title is None else title[1]
        return next((line.strip()[:120] for line in text.splitlines() if line.strip()), "no content")

    @property
    def is_page(self) -> bool:
        """Whether it is a page for a browser."""
        return "html" in self.headers.get("content-type", "") or self.text.lstrip()[:1] == "<"


@asynccontextmanager
async def request(
    address: WebSocketAddress, path: str, headers: Mapping[str, str], *, streams: bool = False
) -> AsyncIterator[HttpAnswer]:
    """Send a GET and read the head of the answer; also its content, unless it `streams` or the status is 101.

    Raises:
        NoConnection: there is none.
        NoAnswer: no answer, or none of HTTP.
    """
    reader, writer = await _connect(address)
    try:
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {address.authority}",
            *[f"{k}: {v}" for k, v in headers.items()],
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        answer = await _read_head(reader, writer)
        if answer.status != 101 and not (streams and answer.status == 200):
            answer.text = await _read_text(answer)
        yield answer
    finally:
        writer.close()
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), 1)


def handshake(headers: Mapping[str, str]) -> tuple[Mapping[str, str], str]:
    """Return the headers that open a WebSocket, and the Sec-WebSocket-Accept that answers them."""
    key = base64.b64encode(os.urandom(16)).decode()
    accept = base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()  # noqa: S324  # RFC 6455 §4.2.2
    opening = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    return {**opening, "Sec-WebSocket-Key": key, **headers}, accept


async def _connect(address: WebSocketAddress) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context() if address.secure else None
    where = f"{address.host}:{address.port}"
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            return await asyncio.open_connection(address.host, address.port, ssl=context, limit=_HEAD_BYTES)
    except ssl.SSLCertVerificationError as error:
        raise NoConnection(
            f"the certificate of {where} is not valid: {error.verify_message}; browsers refuse it too: "
            "install one for this name, with its chain"
        ) from None
    except ssl.SSLError as error:
        raise NoConnection(
            f"{where} does not speak TLS ({error.reason}); is it ws:// instead of wss://?"
        ) from None
    except socket.gaierror as error:
        raise NoConnection(f"the name {address.host} has no address: {error.strerror}") from None
    except TimeoutError:
        raise NoConnection(
            f"no connection to {where} within {OPEN_SECONDS:g} s; a firewall, or another port?"
        ) from None
    except (OSError, UnicodeError) as error:
        raise NoConnection(
            f"no connection: {getattr(error, 'strerror', None) or error}; does a server listen on {where}?"
        ) from None


async def _read_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> HttpAnswer:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
    except TimeoutError:
        raise NoAnswer(f"no answer within {ANSWER_SECONDS:g} s") from None
    except asyncio.LimitOverrunError:
        raise NoAnswer("the answer is not HTTP, or its head is too long") from None
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise NoAnswer("the answer is not HTTP; is the port another service's, or wss://?") from None
        raise NoAnswer("the connection was closed without an answer") from None
    except OSError as error:
        raise NoAnswer(f"the connection broke before an answer: {error}") from None
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, status = first.partition(" ")
    if not version.startswith("HTTP/") or not status[:3].isdigit():
        raise NoAnswer("the answer is not HTTP; is the port another service's?")
    pairs = (line.partition(":") for line in lines if line)
    return HttpAnswer(int(status[:3]), {k.strip().lower(): v.strip() for k, _, v in pairs}, reader, writer)


async def _read_text(answer: HttpAnswer) -> str:
    content = b""
    length = answer.headers.get("content-length", "")
    wanted = min(int(length), _BODY_BYTES) if length.isdecimal() else _BODY_BYTES
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(ANSWER_SECONDS):
            while len(content) < wanted and (part := await answer.reader.read(_BODY_BYTES)):
                content += part
                if "chunked" in answer.headers.get("transfer-encoding", "") and content.endswith(
                    b"0\r\n\r\n"
                ):
                    break
    return content.decode("utf-8", "replace")
