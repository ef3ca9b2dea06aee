"""Viewers: the identity of a client, as its token or its request proves it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Viewer:
    """An authenticated person or program.

    `expires_at` is when the token expires, in seconds since the epoch; None if it does not. The connection
    ends then; if that is past already, because clocks differ, `leeway_seconds` later.
    """

    subject: str
    claims: Mapping[str, object] = field(default_factory=dict[str, object], repr=False)
    expires_at: float | None = None
    leeway_seconds: float = 0.0


class Headers(Mapping[str, str]):
    """The fields of a request: names in any case, values as Latin-1 text, repeated fields joined."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = {name.lower(): value for name, value in fields.items()}

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({', '.join(self._fields)})"  # names only: values are secrets


@dataclass(frozen=True, slots=True)
class Handshake:
    """The HTTP request that opened a WebSocket or an event stream; see `RequestAuthorizer`.

    `cookies`, and `Cookie` in `headers`, are empty unless the request is from a page of the server's own host
    or of an origin that is listed by name: a browser sends cookies with the requests of every page.
    """

    path: str
    headers: Headers
    cookies: Mapping[str, str] = field(repr=False)
    origin: str | None
    """The page's origin as the browser sent it; programs send none."""
    address: str
    """The client's address, behind trusted proxies too; empty if it is unknown."""
