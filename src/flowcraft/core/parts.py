"""Parts: join messages that were cut into parts, of several senders at a time."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

SENDERS = 8
"""Senders whose messages are incomplete at a time; of more, the one whose part arrived first is dropped."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a message: who sent it, the number of the message, that of the part, and its bytes.

    `sequence` is the number that the part has in a stream, 0 without one.
    """

    sender: str
    message: int
    number: int
    is_last: bool
    content: bytes
    sequence: int = 0


class Parts:
    """Takes parts and returns whole messages.

    The parts of one sender arrive in order. Where one is missing its message is dropped: the chain finds that
    events are missing. `most_bytes` bounds the incomplete message of a sender.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._incomplete: OrderedDict[str, tuple[int, list[bytes]]] = OrderedDict()

    def take(self, part: Part) -> bytes | None:
        """Return the message that a part completes, None if it completes none."""
        message, contents = self._incomplete.pop(part.sender, (part.message, []))
        if part.number == 0:
            message, contents = part.message, []
        if part.message != message or part.number != len(contents):
            return None
        contents.append(part.content)
        if part.is_last:
            return b"".join(contents)
        if sum(map(len, contents)) <= self._most_bytes:
            self._incomplete[part.sender] = (message, contents)
            if len(self._incomplete) > SENDERS:
                self._incomplete.popitem(last=False)
        return None
