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

from flowcraft.core import bundles
from flowcraft.core.answers import PAGE_BYTES, Pages, Part
from flowcraft.core.bundles import Bundle, Live
from flowcraft.core.conflation import Conflation, ConflationKey
from flowcraft.core.states import State
from flowcraft.cursors import Cursor


class Outbox:
    """Takes parts and returns chunks. Parts are encoded messages that connections share.

    `limit_bytes` bounds the messages that wait here. Bytes in the carrier do not count, nor do replays, which
    are encoded page by page. `events` is how many events were sent to the client before; a heartbeat contains
    the number. A connection has an outbox only while it cannot send everything at once. Times are monotonic,
    in seconds.
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

    def states(self) -> list[State]:
        """Return the states with pages that wait here."""
        replays = [part for part, _ in self._parts if isinstance(part, Pages)]
        return [replay.state for replay in replays if replay.state is not None]

    @property
    def has_ended(self) -> bool:
        """Whether a full outbox has returned its last chunk: close the connection now."""
        return self._is_cut and not self._parts

    def put(self, part: Part, now: float) -> bool:
        """Append a part; return False if the outbox is full: then close the connection to have it resume.

        An outbox with a replay is never full. Parts after the replay are dropped, and the connection is
        closed after the replay (`has_ended`): its client resumes from the replay's end. If it were closed
        during the replay, it would need all of the replay again, and might be closed again.
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
        """Remove and return the next chunk: a page of a replay, or about a page of the messages before it.

        A chunk has whole messages; one may be longer than a page. The chunk is empty if nothing waits.
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
        """Remove everything; return the messages before the first replay, to be sent before a close.

        The client resumes from its last commit point and receives the replay again.
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
        """Return whether the last chunk has waited too long, in the outbox and in the carrier together.

        A page of a replay and a conflated batch count from the moment they were taken: a client that reads
        them slowly is served.
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
            # Back-dated to when the part was put, but not before the end of a replay: until then it was not
            # the part that the client was slow to read.
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


_NONE = (-1, "")


class _Conflated:
    """Consecutive live batches, with the latest record of each key."""

    def __init__(self, live: Live) -> None:
        self._cursor: Cursor = live.cursor
        self._at: datetime = live.at
        self._messages: dict[tuple[int, str], bytes] = {}
        self._latest: dict[ConflationKey, tuple[int, str]] = {}
        self.size = 0

    def add(self, bundle: Bundle, live: Live, conflation: Conflation) -> None:
        """Add a batch."""
        self._cursor, self._at = live.cursor, live.at
        # strict=False: the last message is the commit point, which has no record
        for record, message in zip(live.records, bundle.messages, strict=False):
            key, sent = conflation.key(record), (record.id, record.channel)
            if key is not None:
                replaced = self._messages.pop(self._latest.get(key, _NONE), b"")
                self._latest[key] = sent
                self.size -= len(replaced)
            self._messages[sent] = message
            self.size += len(message)

    def bundle(self) -> Bundle:
        """Return the records as one batch."""
        return Bundle(self._all(), len(self._messages), Live((), self._cursor, self._at))

    def _all(self) -> Iterator[bytes]:
        yield from self._messages.values()
        yield bundles.commit_point(self._cursor, len(self._messages), self._at)
