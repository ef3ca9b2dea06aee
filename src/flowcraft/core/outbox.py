"""Outbox: everything not yet sent to one client, with one bound and one answer to "full".

A connection takes one chunk at a time; everything after that chunk waits here: live batches, control frames,
replays in pages. Consecutive live batches of conflated channels become one batch, in which a newer record
replaces an older one with the same key. Batches on two sides of a replay or a control frame stay apart: a
replay answers one request, and `settled` is a promise about what came before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime

from flowcraft.core import frames
from flowcraft.core.bundles import PAGE_BYTES, Bundle, Live, Pages, Part
from flowcraft.core.conflation import Conflation, ConflationKey
from flowcraft.cursors import Cursor


class Outbox:
    """Parts in, chunks out. Parts are encoded messages that other connections share.

    `limit_bytes` bounds what waits here. What the connection has taken does not count, nor do replays, which
    are encoded page by page. `events` is how many events the client was sent before; a heartbeat carries that
    number. An outbox is made when a connection could not send all that it was given; times are monotonic, in
    seconds.
    """

    def __init__(self, limit_bytes: int, conflation: Conflation | None, *, events: int, now: float) -> None:
        self._limit = limit_bytes
        self._conflation = conflation
        self._parts: deque[tuple[Bundle | _Conflated | Pages, float]] = deque()
        self._size = 0
        self._is_cut = False
        self._replay_ended = float("-inf")
        self._waits_since = now
        self.events = events

    def __bool__(self) -> bool:
        return bool(self._parts)

    @property
    def size(self) -> int:
        """Bytes of the messages that wait, without those of replays."""
        return self._size

    @property
    def has_ended(self) -> bool:
        """Whether a full outbox has given out all that it still had to: close the connection now."""
        return self._is_cut and not self._parts

    def put(self, part: Part, now: float) -> bool:
        """Append a part; False if it is full: then close the connection, its client will resume.

        An outbox that holds a replay is never full. What would follow that replay is dropped, and the
        connection is closed after it (`has_ended`): a client that has received the replay to its end resumes
        from there; one closed before would need all of it again, and perhaps be closed again.
        """
        if self._size > self._limit and not self._is_cut:
            if not self._has_replay():
                return False
            self._cut()
        if self._is_cut:
            return True
        if isinstance(part, Pages):
            self._parts.append((part, now))
        elif self._conflation is None or part.live is None:
            self._parts.append((part, now))
            self._size += part.size
        else:
            self._conflate(part, part.live, self._conflation, now)
        return True

    def take(self, now: float) -> Bundle:
        """Remove and return the next chunk: a page of a replay, or what waits before it, up to about a page.

        A chunk is whole messages; one message may be longer than a page. It is empty if nothing waits.
        """
        messages: list[bytes] = []
        events = size = 0
        self._waits_since = now
        while self._parts and size < PAGE_BYTES and not isinstance(self._parts[0][0], Pages):
            bundle = self._pop().counted(self.events + events)
            messages += bundle.messages
            events += bundle.events
            size += bundle.size
        chunk = Bundle(messages, events) if messages or not self._parts else self._next_page(now)
        self.events += chunk.events
        return chunk

    def take_rest(self) -> tuple[bytes, ...]:
        """Remove everything; return what may be sent before a close: the messages that wait before a replay.

        Its client resumes from its last commit point and receives the replay again.
        """
        messages: list[bytes] = []
        while self._parts and not isinstance(self._parts[0][0], Pages):
            bundle = self._pop().counted(self.events)
            messages += bundle.messages
            self.events += bundle.events
        self._parts.clear()
        self._size = 0
        return tuple(messages)

    def is_overdue(self, now: float, limit_seconds: float) -> bool:
        """Return whether the chunk that the connection took last has waited, here and there, for too long.

        A page of a replay, and a batch that newer records replace, wait only since they were taken: a client
        that is slow, but takes them, is served.
        """
        return now - self._waits_since >= limit_seconds

    def _conflate(self, part: Bundle, live: Live, conflation: Conflation, now: float) -> None:
        last = self._parts[-1][0] if self._parts else None
        if not isinstance(last, _Conflated):
            last = _Conflated(live)
            self._parts.append((last, now))
        self._size -= last.size
        last.add(part, live, conflation)
        self._size += last.size

    def _has_replay(self) -> bool:
        return any(isinstance(part, Pages) for part, _ in self._parts)

    def _cut(self) -> None:
        """Drop everything that follows the first replay."""
        self._is_cut = True
        first = next(n for n, (part, _) in enumerate(self._parts) if isinstance(part, Pages))
        while len(self._parts) > first + 1:
            dropped, _ = self._parts.pop()
            self._size -= 0 if isinstance(dropped, Pages) else dropped.size

    def _pop(self) -> Bundle:
        part, since = self._parts.popleft()
        assert not isinstance(part, Pages)
        self._size -= part.size
        if isinstance(part, Bundle):
            # What waited behind a replay waits since that ended: before, it was not its turn.
            self._waits_since = min(self._waits_since, max(since, self._replay_ended))
            return part
        return part.bundle()

    def _next_page(self, now: float) -> Bundle:
        replay, _ = self._parts[0]
        assert isinstance(replay, Pages)
        page = replay.take()
        if replay.is_sent:
            self._parts.popleft()
            self._replay_ended = now
        return page


class _Conflated:
    """Consecutive live batches, with the latest record of each key."""

    def __init__(self, live: Live) -> None:
        self._cursor: Cursor = live.cursor
        self._at: datetime = live.at
        self._messages: dict[int, bytes] = {}
        self._latest: dict[ConflationKey, int] = {}
        self.size = 0

    def add(self, bundle: Bundle, live: Live, conflation: Conflation) -> None:
        """Take one more batch."""
        self._cursor, self._at = live.cursor, live.at
        for record, message in zip(
            live.records, bundle.messages, strict=False
        ):  # the last is the commit point
            key = conflation.key(record)
            if key is not None:
                replaced = self._messages.pop(self._latest.get(key, -1), b"")
                self._latest[key] = record.id
                self.size -= len(replaced)
            self._messages[record.id] = message
            self.size += len(message)

    def bundle(self) -> Bundle:
        """Return it as one batch."""
        return Bundle(self._all(), len(self._messages), Live((), self._cursor, self._at))

    def _all(self) -> Iterator[bytes]:
        yield from self._messages.values()
        yield frames.commit_point(self._cursor, len(self._messages), self._at)
