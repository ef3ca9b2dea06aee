"""HTTP/1 without input and output: a request from the bytes of one connection (RFC 9112), and its response.

Stricter than the RFC asks a recipient to be: no line folding, no bare CR or LF, no length beside chunks. What
is accepted here, h11 accepts with the same meaning; a test compares them. To parse a handshake takes h11 14
to 23 µs and this module 4 to 6, of about 90 µs for the whole handshake.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from operator import methodcaller
from types import MappingProxyType
from typing import TypeAlias

import msgspec

from flowcraft.adapters.chunks import ChunkReader
from flowcraft.adapters.handshake import MALFORMED_HOST, Refused, join_fields
from flowcraft.origins import is_authority

NO_CONTENT = HTTPStatus.NO_CONTENT
HttpAnswer: TypeAlias = tuple[int, str, str]
"""Status, content type, body."""
TEXT = "text/plain; charset=utf-8"
"""The content type of errors."""
METHODS = ("GET", "HEAD", "OPTIONS")
"""The methods of a path that only returns something."""
HEAD_BYTES = 32 * 1024
"""The longest head of a request, without the empty line that ends it."""
TARGET_BYTES = 8 * 1024
"""The longest request target."""
FIELDS = 100
"""The most field lines in a head."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""The response to `Expect: 100-continue`: the client sends the content after it (RFC 9110 §10.1.1)."""

_END = b"\r\n\r\n"
_HEAD_LIMIT = HEAD_BYTES + len(_END)
_SPLIT: Callable[[str], tuple[str, str, str]] = methodcaller("partition", ":")
_WORD = r"[-!#$%&'*+.^_`|~0-9A-Za-z]++"
_LINE = rf"({_WORD}) ([\x21-\x7e]++) HTTP/([0-9]\.[0-9])\r\n"
_REQUEST_LINE = re.compile(_LINE)
# Possessive quantifiers: a head that does not match fails at the first wrong octet, without backtracking.
# Values may have octets above ASCII (obs-text, RFC 9110 §5.5), as cookies and the fields of proxies do.
_HEAD = re.compile(rf"{_LINE}((?:{_WORD}:[\t\x20-\x7e\x80-\xff]*+\r\n)*+)\r\n")
_ILLEGAL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
_VERSIONS = ("1.1", "1.0")
_SLASHES = re.compile("/{2,}")
_LENGTH = re.compile(r"[0-9]{1,20}")
_ABSOLUTE = re.compile(r"https?://([^/?#]+)(/[^?#]*)?(?:\?([^#]*))?", re.IGNORECASE)
_PHRASES = {413: "Content Too Large", 414: "URI Too Long"}  # RFC 9110; Python 3.11 has those of RFC 7231


class Target(msgspec.Struct, frozen=True):
    """A request target (RFC 9112 §3.2); `authority` is that of an absolute form, else None."""

    text: str
    path: str
    query: str
    authority: str | None = None


class Request(msgspec.Struct, frozen=True):  # a dataclass is made ten times as slowly
    """The head of a request. Names of fields are in lower case, repeated ones are joined (RFC 9110 §5.3).

    The authority of a target in absolute form replaces Host (RFC 9112 §3.2.2).
    """

    method: str
    target: Target
    headers: dict[str, str]
    content_length: int | None
    """None if the content is in chunks."""
    version: str = "1.1"


class RequestReader:
    """Reads one request from the pieces in which it arrives, and scans each octet once."""

    method: str = ""
    """The method of a head that has been read, or of one that was refused for its fields."""
    headers: Mapping[str, str] = MappingProxyType({})
    """The headers of such a head."""
    _chunks: ChunkReader | None = None

    def __init__(self, most_content: int) -> None:
        self.request: Request | None = None
        """The head, once it has been read."""
        self._most_content = most_content
        self._arrived = bytearray()
        self._scanned = 0
        self._has_begun = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing has arrived."""
        return self.request is None and not self._arrived

    def feed(self, data: bytes) -> bool:
        """Append a piece that has arrived; return whether more has arrived than the longest request has."""
        arrived = self._arrived
        arrived += data
        if not self._has_begun and len(arrived) > 1:
            self._has_begun = True
            if arrived.startswith(b"\r\n"):  # an empty line before a request is ignored (RFC 9112 §2.2)
                del arrived[:2]
                self._scanned = 0
        return len(arrived) > _HEAD_LIMIT + self._most_content

    def read_head(self) -> Request | Refused | None:
        """Return the request once its head has arrived, or why it is refused; None until then.

        The result does not depend on how the head was split into pieces.
        """
        arrived, scanned = self._arrived, self._scanned
        end = arrived.find(_END, max(0, scanned - len(_END) + 1) if scanned else 0, _HEAD_LIMIT)
        if end < 0:
            stop = min(len(arrived), _HEAD_LIMIT)
            if _ILLEGAL.search(arrived, max(0, scanned - 1), stop):
                return _ILLEGAL_OCTET
            self._scanned = stop
            return _too_long(arrived) if stop == _HEAD_LIMIT else None
        end += len(_END)
        parsed = self._parse_head(arrived[:end].decode("latin-1"))
        del arrived[:end]
        if isinstance(parsed, Request):
            self.request = parsed
        return parsed

    def read_content(self, request: Request) -> bytes | Refused | None:
        """Return the content of a request once all of it has arrived, or a refusal; None until then."""
        length = request.content_length
        if length is None:
            self._chunks = self._chunks or ChunkReader(self._most_content)
            return self._chunks.read(self._arrived)
        if length == 0:
            return b""
        if len(self._arrived) < length:
            return None
        content = bytes(self._arrived[:length])
        del self._arrived[:length]
        return content

    def awaits_continue(self, request: Request) -> bool:
        """Return whether the client sends the content only after `CONTINUE`."""
        if request.content_length == 0 or self._arrived or request.version == "1.0":
            return False
        return request.headers.get("expect", "").lower() == "100-continue"

    def rest(self) -> bytes:
        """Return what has arrived after the request."""
        return bytes(self._arrived)

    def _parse_head(self, head: str) -> Request | Refused:
        match = _HEAD.fullmatch(head)
        if match is None:
            return _grammar_error(head)
        method, target_text, version, fields = match.groups()
        if version not in _VERSIONS:
            return _VERSION
        lines = fields.split("\r\n")
        lines.pop()  # the empty string after the last CRLF
        if len(lines) > FIELDS:
            return head_too_large()
        headers = {name.lower(): value.strip(" \t") for name, _, value in map(_SPLIT, lines)}
        if len(headers) != len(lines):
            headers = _joined(lines)
        self.method, self.headers = method, headers
        target = parse_target(target_text, method)
        if isinstance(target, Refused):
            return target
        if not is_authority(headers.get("host", "" if version == "1.0" else "[")):
            return MALFORMED_HOST  # absent, malformed, or two of them, joined
        if target.authority is not None:
            headers["host"] = target.authority
        length: int | Refused | None = 0
        if "content-length" in headers or "transfer-encoding" in headers:
            length = _content_length(version, headers, self._most_content)
        return length if isinstance(length, Refused) else Request(method, target, headers, length, version)


_ILLEGAL_OCTET = Refused(400, "bad request: a control character, or a bare CR or LF in the head")


def _too_long(arrived: bytearray) -> Refused:
    line_end = arrived.find(b"\r\n")
    if line_end < 0 or line_end > TARGET_BYTES + len("GET  HTTP/1.1"):
        return Refused(414, f"URI too long: a target has at most {TARGET_BYTES} bytes")
    return head_too_large()


def head_too_large() -> Refused:
    """Return the refusal of a head that is over the limits."""
    return Refused(431, f"request header fields too large: at most {HEAD_BYTES} bytes, in {FIELDS} fields")


_VERSION = Refused(505, "HTTP version not supported: expected HTTP/1.1 or HTTP/1.0")


def _grammar_error(head: str) -> Refused:
    """Return why a head that does not match the grammar is refused."""
    if _ILLEGAL.search(head.encode("latin-1")):
        return _ILLEGAL_OCTET
    match = _REQUEST_LINE.match(head)
    if match is None:
        return Refused(400, "bad request: expected a request line such as GET /realtime HTTP/1.1")
    if match[3] not in _VERSIONS:
        return _VERSION
    return Refused(400, "bad request: malformed field line; expected a name, a colon and a value on one line")


@lru_cache(maxsize=256)  # pages of one application ask for the same
def parse_target(text: str, method: str = "GET") -> Target | Refused:
    """Split a request target in origin form or absolute form, or the `*` of OPTIONS (RFC 9112 §3.2)."""
    if len(text) > TARGET_BYTES:
        return Refused(414, f"URI too long: a target has at most {TARGET_BYTES} bytes")
    if text == "*" and method == "OPTIONS":
        return Target(text, text, "")
    if text.startswith("/") and "#" not in text:
        path, _, query = text.partition("?")
        return Target(text, path, query)
    match = _ABSOLUTE.fullmatch(text)
    if match is None or not is_authority(match[1]):
        return Refused(
            400, "bad request: malformed target; expected one such as /realtime?channel=run_update"
        )
    return Target(text, match[2] or "/", match[3] or "", match[1])


def parse_content_length(text: str) -> int | None:
    """Parse the value of Content-Length (RFC 9110 §8.6); None if it is malformed.

    One length that is repeated is one length. Not `int` alone, which accepts signs, spaces, underscores and
    digits of other scripts.
    """
    if "," in text:
        lengths = {length.strip(" \t") for length in text.split(",")}
        text = lengths.pop() if len(lengths) == 1 else ""
    return int(text) if _LENGTH.fullmatch(text) else None


def check_content_length(text: str, most: int) -> int | Refused:
    """Return the length that a Content-Length declares, or why the request is refused."""
    length = parse_content_length(text)
    if length is None:
        return Refused(400, "bad request: Content-Length is not a decimal number of at most 20 digits")
    return content_too_large(most) if length > most else length


def content_too_large(most: int) -> Refused:
    """Return the refusal of a content of more than `most` bytes."""
    return Refused(413, f"content too large: at most {most} bytes")


def _joined(lines: Iterable[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, _, value in map(_SPLIT, lines):
        join_fields(headers, name.lower(), value.strip(" \t"))
    return headers


def _content_length(version: str, headers: Mapping[str, str], most_content: int) -> int | Refused | None:
    """Return the length of the content that follows (RFC 9112 §6.3); None if it is in chunks."""
    coding, declared = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is None:
        return 0 if declared is None else check_content_length(declared, most_content)
    if declared is not None:
        return Refused(400, "bad request: Transfer-Encoding and Content-Length; send one of them")
    if version == "1.0":
        return Refused(400, "bad request: Transfer-Encoding in HTTP/1.0; send Content-Length")
    if coding.lower() != "chunked":
        return Refused(
            501, "not implemented: transfer coding; send the content in chunks or with Content-Length"
        )
    return None


def response(
    status: int,
    body: str,
    content_type: str = TEXT,
    headers: Mapping[str, str] | None = None,
    *,
    is_head: bool = False,
) -> bytes:
    """Return a whole HTTP response, after which the connection closes; `is_head`: it answers HEAD."""
    if status == NO_CONTENT:
        return response_head(status, headers or {})
    payload = body.encode()
    fields = {"Content-Type": content_type, "Content-Length": str(len(payload))}
    return response_head(status, fields | dict(headers or {})) + (b"" if is_head else payload)


def response_head(status: int, headers: Mapping[str, str]) -> bytes:
    """Return the head of an HTTP response, whose body ends when the connection closes."""
    phrase = _PHRASES.get(status) or HTTPStatus(status).phrase
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {phrase}\r\n{lines}Connection: close\r\n\r\n".encode("latin-1")


def normal_path(path: str) -> str:
    """Return a decoded path with single slashes and none at its end: proxies and people write more."""
    if "//" in path:
        path = _SLASHES.sub("/", path)
    return path.rstrip("/") or "/"
