"""The backlog: what waits for one client that cannot be written to, merged and conflated meanwhile.

Consecutive live groups become one, with their records in order and the last commit point. In it an older
record of a conflated channel makes room for a newer one with the same key. Everything else keeps its place,
and groups on two sides of it stay apart: a replay answers one request, and `settled` is a promise about
what came before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from flowcraft.core import frames
from flowcraft.core.conflation import Conflation, ConflationKey
from flowcraft.core.frames import Bundle, Live
from flowcraft.cursors import Cursor


class Backlog:
    """Bundles in, one bundle out. It holds the encoded messages that other connections share."""

    def __init__(self, conflation: Conflation) -> None:
        self._conflation = conflation
        self._parts: list[Bundle | _Group] = []
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes of the messages that wait."""
        return self._size

    def add(self, bundle: Bundle) -> None:
        """Keep a bundle, after all that was kept before."""
        if bundle.live is None:
            self._parts.append(bundle)
            self._size += bundle.size
            return
        last = self._parts[-1] if self._parts else None
        if not isinstance(last, _Group):
            last = _Group(bundle.live)
            self._parts.append(last)
        self._size += last.add(bundle, bundle.live, self._conflation)

    def release(self, sent: int) -> Bundle:
        """Return all that waits as one bundle, for a connection that was sent so many events; begin anew."""
        parts, self._parts, self._size = self._parts, [], 0
        messages: list[bytes] = []
        events = 0
        for part in parts:
            leaving = (part if isinstance(part, Bundle) else part.bundle()).counted(sent + events)
            messages += leaving.messages
            events += leaving.events
        return Bundle(messages, events)


class _Group:
    """Live groups that were merged."""

    def __init__(self, live: Live) -> None:
        self._cursor: Cursor = live.cursor
        self._at: datetime = live.at
        self._messages: dict[int, bytes] = {}
        self._latest: dict[ConflationKey, int] = {}

    def add(self, bundle: Bundle, live: Live, conflation: Conflation) -> int:
        """Take one more group; return by how many bytes this one has grown."""
        self._cursor, self._at = live.cursor, live.at
        grown = 0
        for record, message in zip(live.records, bundle.messages, strict=False):  # the last closes the group
            key = conflation.key(record)
            if key is not None:
                replaced = self._messages.pop(self._latest.get(key, -1), b"")
                self._latest[key] = record.id
                grown -= len(replaced)
            self._messages[record.id] = message
            grown += len(message)
        return grown

    def bundle(self) -> Bundle:
        """Return it as it leaves."""
        return Bundle(self._all(), len(self._messages), Live((), self._cursor, self._at))

    def _all(self) -> Iterator[bytes]:
        yield from self._messages.values()
        yield frames.commit_point(self._cursor, len(self._messages), self._at)
