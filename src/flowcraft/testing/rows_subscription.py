"""A subscription to rows: what one page shows of a channel, for a test to expect, without sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, cast

import msgspec

from flowcraft.adapters.asgi import json_sequence
from flowcraft.carrier_ports import GatewayPort
from flowcraft.core.bundles import Framing
from flowcraft.declared_channels import RowsChannel
from flowcraft.testing.expectations import count_missing, rows_missing
from flowcraft.testing.inbox import Frame, Inbox

E = TypeVar("E")
_ANSWER_SECONDS = 10.0
_Key = tuple[object, ...]


@dataclass(slots=True, eq=False)
class RowsInbox(Inbox):
    """The client's end of a connection that subscribes to rows: it applies whole groups, as pages do."""

    framing: Framing = json_sequence
    channel: str = ""
    present: bool = False
    """Whether the viewer of this connection is present on the channel, one of members."""
    shown: dict[_Key, bytes] = field(default_factory=dict[_Key, bytes])
    """The rows by key, as they are at `cursor`."""
    unlisted: int = 0
    """How many more rows the channel has at `cursor`: the members that are counted and not listed."""
    states: int = 0
    """How many whole states have arrived."""
    on_change: Callable[[], None] = lambda: None
    """Called after each group that was applied."""
    send: Callable[[Mapping[str, object]], None] = lambda _: None
    _names: tuple[str, ...] = ()
    _items: list[bytes] = field(default_factory=list[bytes])
    _changes: list[tuple[bool, bytes]] = field(default_factory=list[tuple[bool, bytes]])
    _counted: int | None = None
    _sent: int = 0

    def ask(self) -> None:
        """Ask for the rows, after the cursor if there is one."""
        self._sent += 1
        since = {} if self.cursor is None else {"since": self.cursor}
        present = {"present": True} if self.present else {}
        self.send({"subscribe": [self.channel], **since, "rows": True, **present, "ref": self._sent})

    def take(self, frame: Frame) -> None:
        if isinstance(frame.rows, str):
            self._names = tuple(frame.key)
            self._items += map(bytes, frame.items)
            return
        if frame.channel is not None and frame.id is not None:
            self._change(frame)
        Inbox.take(self, frame)  # zero-argument super() does not work in a class with slots
        if frame.reset is not None:
            self._items.clear()
            self._changes.clear()
            self._counted = None
            self.cursor = None
            self.answer = None
            self.ask()
        elif frame.cursor is not None:
            self._apply(frame)

    def _change(self, frame: Frame) -> None:
        if frame.count is not None:
            self._counted = frame.count
        elif bytes(frame.payload):
            self._changes.append((True, bytes(frame.payload)))
        elif bytes(frame.gone):
            self._changes.append((False, bytes(frame.gone)))
        elif b'"key"' in bytes(frame.skipped):
            self._changes.append(
                (False, msgspec.json.encode(msgspec.json.decode(bytes(frame.skipped))["key"]))
            )

    def _apply(self, frame: Frame) -> None:
        items, self._items = self._items, []
        changes, self._changes = self._changes, []
        if frame.rows is None:
            assert not items, "the server sent rows and closed the group without their number"
        else:
            assert len(items) == frame.rows, "the server miscounted rows; please report this"
            self.shown = {self._key(item): item for item in items}
            assert len(self.shown) == len(items), "a state has a key twice; please report this"
            self.states += 1
            self.unlisted = int(bytes(frame.skipped) or b"0")
        for is_there, content in changes:
            key = self._key(content)
            self.shown.pop(key, None)
            if is_there:
                self.shown[key] = content
        if self._counted is not None:
            self.unlisted, self._counted = self._counted, None
        self.on_change()

    def _key(self, content: bytes) -> _Key:
        row = cast("dict[str, object]", msgspec.json.decode(content))
        return tuple([row[name] for name in self._names])


class RowsContext(Protocol):
    """The part of `RealtimeUnderTest` that a subscription to rows uses."""

    @property
    def timeout(self) -> float: ...
    async def draw_mark(self) -> int: ...


class RowsSubscription(Generic[E]):
    """The rows that one client shows of one channel. `expect_rows` waits until they are as expected."""

    def __init__(
        self, channel: RowsChannel[E], gateway: GatewayPort, inbox: RowsInbox, context: RowsContext
    ) -> None:
        self.channel = channel
        self._gateway = gateway
        self._inbox = inbox
        self._context = context

    @property
    def rows(self) -> list[E]:
        """The rows now, sorted by key."""
        decode = self.channel.declaration.payload.decode
        shown = self._inbox.shown
        return [cast(E, decode(shown[key].decode())) for key in sorted(shown, key=_sortable)]

    @property
    def count(self) -> int:
        """How many rows the channel has now, also where members are counted and not listed.

        Of a table, rows that cannot be sent count too.
        """
        return len(self._inbox.shown) + self._inbox.unlisted

    @property
    def states(self) -> int:
        """How often the rows were sent as a whole: once, and again after each reset."""
        return self._inbox.states

    def get(self, *key: object) -> E | None:
        """Return the row with a key, given as the values of its fields in the declared order."""
        found = self._inbox.shown.get(tuple(msgspec.json.decode(msgspec.json.encode(key))))
        return None if found is None else cast(E, self.channel.declaration.payload.decode(found.decode()))

    async def expect_rows(
        self, expected: Sequence[E] | Callable[[list[E]], bool], /, *, timeout: float | None = None
    ) -> list[E]:
        """Wait until these are the rows, in any order, or until a function of them returns true; return them.

        The call returns at the commit point at which they are. With `timeout=0` they must be so once
        everything committed by now is delivered.

        Raises:
            RowsMissing: they were not within the time, by default the 5 seconds of `flowcraft_timeout`.
        """
        __tracebackhide__ = True
        seconds = self._context.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds or None):
                if not seconds:
                    await self.settle()
                while not self._fits(expected):
                    if not seconds:
                        raise TimeoutError
                    await self._inbox.news()
        except TimeoutError:
            raise rows_missing(self.channel.name, expected, self.rows, seconds) from None
        return self.rows

    async def expect_count(self, expected: int, /, *, timeout: float | None = None) -> None:
        """Wait until the channel has so many rows, also where members are counted and not listed.

        A count that changes again within a second of the last one is sent after that second.

        Raises:
            RowsMissing: it had not within the time, by default the 5 seconds of `flowcraft_timeout`.
        """
        __tracebackhide__ = True
        seconds = self._context.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds):
                while self._inbox.answer is None or self.count != expected:
                    await self._inbox.news()
        except TimeoutError:
            raise count_missing(self.channel.name, expected, self.count, seconds) from None

    async def settle(self) -> None:
        """Wait until everything committed by now is delivered."""
        mark = await self._context.draw_mark()
        self._inbox.send({"settle": str(mark)})
        async with asyncio.timeout(_ANSWER_SECONDS):
            while mark not in self._inbox.settled or self._inbox.answer is None:
                await self._inbox.news()

    def close(self) -> None:
        """Disconnect; idempotent."""
        self._gateway.closed()

    def _fits(self, expected: Sequence[E] | Callable[[list[E]], bool]) -> bool:
        if self._inbox.answer is None:  # a reset: the rows are read again
            return False
        rows = self.rows
        if callable(expected):
            return expected(rows)
        return len(rows) == len(expected) and all(row in rows for row in expected)


def _sortable(key: Iterable[object]) -> list[tuple[str, object]]:
    return [(type(part).__name__, part) for part in key]
