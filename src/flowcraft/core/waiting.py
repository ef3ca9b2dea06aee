"""Waiting messages: a client's messages before a token or during a decision, unparsed and bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec

from flowcraft.settings import Settings


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of one client may wait; more closes its connection with 4429."""

    messages: int
    bytes: int
    reason: str
    """When they apply."""

    def __str__(self) -> str:
        return f"at most {self.messages} messages and {self.bytes} bytes"


BEFORE_TOKEN = Bounds(messages=16, bytes=4 * 1024, reason="before a token; send auth first")
"""Before a required token. Our client sends its token first, so none of its messages wait here."""
DURING_DECISION = Bounds(messages=256, bytes=256 * 1024, reason="during a token check or guard")
"""During a token check or a guard. Clients send their subscriptions right after their token.

128 names of 113 bytes fit, each with a cursor of up to 1.8 KB; so does the content of an event stream's
request.
"""
TOKEN_MESSAGE_BYTES = 16 * 1024
"""The longest message before a token: as long as the head of an HTTP request, where tokens usually are."""


def during_decision(settings: Settings) -> Bounds:
    """Return what may wait during a decision: at least one message of the longest kind."""
    return replace(DURING_DECISION, bytes=max(DURING_DECISION.bytes, settings.message_bytes))


class WaitingMessages(msgspec.Struct):
    """The messages of one client that wait, in order.

    They are kept as UTF-8, of the size that the client sent: a `str` takes up to four bytes a character, and
    a parsed message ten times its size.
    """

    # Not a deque: each client has a list of these, and an empty deque takes 600 bytes more.
    _messages: list[bytes] = []
    size: int = 0
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

    def take_all(self) -> list[bytes]:
        """Remove and return all messages, the oldest first."""
        taken, self._messages, self.size = self._messages, [], 0
        return taken
