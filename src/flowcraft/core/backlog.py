"""The backlog: what waits for one client that cannot be written to, or that is still told a long replay.

Where channels are conflated, consecutive live groups become one, with their records in order and the last
commit point. In it an older record of a conflated channel makes room for a newer one with the same key.
Everything else keeps its place, and groups on two sides of it stay apart: a replay answers one request, and
`settled` is a promise about what came before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime

from flowcraft.core import frames
from flowcraft.core.conflation import Conflation, ConflationKey
from flowcraft.core.frames import Bundle, Live
from flowcraft.core.pages import Pages
from flowcraft.cursors import Cursor


class Backlog:
    """Bundles in, bundles out. It holds the encoded messages that other connections share."""

    def __init__(self, conflation: Conflation | None) -> None:
        self._conflation = conflation
        self._parts: deque[Bundle | _Group | Pages] = deque()
        self._size = 0
        self.is_cut = False
        """Whether something was dropped: then nothing may be sent after what is left."""

    def __bool__(self) -> bool:
        return bool(self._parts)

    @property
    def size(self) -> int:
        """Bytes of the messages that wait, without those of replays, which are not encoded yet."""
        return self._size

    @property
    def has_replay(self) -> bool:
        """Whether a long replay has not been told to its end."""
        return any(isinstance(part, Pages) for part in self._parts)

    def add(self, part: Bundle | Pages) -> None:
        """Keep something, after all that was kept before; nothing if it was cut."""
        if self.is_cut:
            return
        if isinstance(part, Pages):
            self._parts.append(part)
        elif self._conflation is None or part.live is None:
            self._parts.append(part)
            self._size += part.size
        else:
            last = self._parts[-1] if self._parts else None
            if not isinstance(last, _Group):
                last = _Group(part.live)
                self._parts.append(last)
            self._size -= last.size
            last.add(part, part.live, self._conflation)
            self._size += last.size

    def cut(self) -> None:
        """Drop all that would follow on the first long replay, now and later.

        A client that is told this replay to its end has come further: it resumes from there. One that is
        closed before its end would have to be told all of it again, and perhaps be closed again.
        """
        self.is_cut = True
        first = next(n for n, part in enumerate(self._parts) if isinstance(part, Pages))
        while len(self._parts) > first + 1:
            dropped = self._parts.pop()
            self._size -= 0 if isinstance(dropped, Pages) else dropped.size

    def release(self, sent: int) -> Bundle:
        """Return what leaves next on a connection that was sent so many events.

        That is the next page of a replay, or else all that waits up to the next replay.
        """
        messages: list[bytes] = []
        events = 0
        while self._parts and not isinstance(self._parts[0], Pages):
            leaving = self._take_first().counted(sent + events)
            messages += leaving.messages
            events += leaving.events
        if messages or not self._parts:
            return Bundle(messages, events)
        replay = self._parts[0]
        assert isinstance(replay, Pages)
        page = replay.take()
        if replay.told:
            self._parts.popleft()
        return page

    def _take_first(self) -> Bundle:
        part = self._parts.popleft()
        assert not isinstance(part, Pages)
        self._size -= part.size
        return part if isinstance(part, Bundle) else part.bundle()


class _Group:
    """Live groups that were merged."""

    def __init__(self, live: Live) -> None:
        self._cursor: Cursor = live.cursor
        self._at: datetime = live.at
        self._messages: dict[int, bytes] = {}
        self._latest: dict[ConflationKey, int] = {}
        self.size = 0

    def add(self, bundle: Bundle, live: Live, conflation: Conflation) -> None:
        """Take one more group."""
        self._cursor, self._at = live.cursor, live.at
        for record, message in zip(live.records, bundle.messages, strict=False):  # the last closes the group
            key = conflation.key(record)
            if key is not None:
                replaced = self._messages.pop(self._latest.get(key, -1), b"")
                self._latest[key] = record.id
                self.size -= len(replaced)
            self._messages[record.id] = message
            self.size += len(message)

    def bundle(self) -> Bundle:
        """Return it as it leaves."""
        return Bundle(self._all(), len(self._messages), Live((), self._cursor, self._at))

    def _all(self) -> Iterator[bytes]:
        yield from self._messages.values()
        yield frames.commit_point(self._cursor, len(self._messages), self._at)
