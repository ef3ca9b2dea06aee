"""Waiting messages: a client's messages before a token or during a decision, unparsed and bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of one client may wait; more closes its connection with 4429."""

    messages: int
    bytes: int

    def __str__(self) -> str:
        return f"at most {self.messages} messages and {self.bytes} bytes"


BEFORE_TOKEN = Bounds(messages=16, bytes=4 * 1024)
"""Before a required token. Our client sends its token first, so none of its messages wait here."""
DURING_DECISION = Bounds(messages=256, bytes=256 * 1024)
"""During a token check or a guard. Clients send their subscriptions right after their token.

128 names of 113 bytes fit, each with a cursor of up to 1.8 KB; so does the content of an event stream's
request.
"""
TOKEN_MESSAGE_BYTES = 16 * 1024
"""The longest message before a token: as long as the head of an HTTP request, where tokens usually are."""


class WaitingMessages:
    """The messages of one client that wait, in order.

    They are kept as UTF-8, of the size that the client sent: a `str` takes up to four bytes a character, and
    a parsed message ten times its size.
    """

    __slots__ = ("_messages", "size")

    def __init__(self) -> None:
        # Not a deque: each client has a list of these, and an empty deque takes 600 bytes more.
        self._messages: list[bytes] = []
        self.size = 0
        """Bytes that wait."""

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._messages)

    def put(self, message: bytes, bounds: Bounds) -> bool:
        """Append a message, unless more would wait than the bounds allow: then return False."""
        if len(self._messages) >= bounds.messages or self.size + len(message) > bounds.bytes:
            return False
        self._messages.append(message)
        self.size += len(message)
        return True

    def take(self) -> bytes:
        """Remove and return the oldest message."""
        message = self._messages.pop(0)
        self.size -= len(message)
        return message

    def clear(self) -> None:
        """Drop everything."""
        self._messages.clear()
        self.size = 0
