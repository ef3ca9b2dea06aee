"""A subscription: the events of one client on one channel, for a test to expect, without sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar, cast, overload

import msgspec

from flowcraft.carrier_ports import GatewayPort
from flowcraft.cursors import Cursor
from flowcraft.declared_channels import Channel
from flowcraft.errors import RealtimeError
from flowcraft.records import Kind, Record
from flowcraft.testing.expectations import (
    Expectation,
    FailureContext,
    Gone,
    GoneExpectation,
    Skipped,
    missing,
    unexpected,
)
from flowcraft.testing.inbox import Inbox

E = TypeVar("E")  # invariant, like the channel's
T = TypeVar("T")
_ANSWER_SECONDS = 10.0


class _NotReceived(Exception):
    """All received events were read, and none matches."""


class SubscriptionRefused(RealtimeError):
    """The server refused a subscription; `answer` is the code or reason that it sent."""

    code = "forbidden"

    def __init__(self, channel: str, answer: str, reason: str) -> None:
        super().__init__(f"the subscription to {channel} was refused ({answer}): {reason}")
        self.channel = channel
        self.answer = answer


class SubscriptionContext(Protocol):
    """The part of `RealtimeUnderTest` that a subscription uses."""

    @property
    def timeout(self) -> float: ...
    async def draw_mark(self) -> int: ...
    async def committed_since(self, cursor: Cursor) -> Sequence[Record]: ...
    def unfinished(self) -> int: ...
    def is_exact_for(self, channel: Channel[E]) -> bool: ...
    @property
    def source(self) -> str: ...


class Subscription(Generic[E]):
    """The events that one client receives on one channel. `expect` reads them in order, and only forward."""

    def __init__(
        self,
        channel: Channel[E],
        gateway: GatewayPort,
        inbox: Inbox,
        begun: Cursor,
        context: SubscriptionContext,
    ) -> None:
        self.channel = channel
        self._gateway = gateway
        self._inbox = inbox
        self._begun = begun
        self._context = context
        self._read = 0

    @property
    def received(self) -> list[E]:
        """All events received so far, read or unread."""
        return [cast(E, event) for event in self._all() if not isinstance(event, Gone | Skipped)]

    @property
    def gone(self) -> list[Mapping[str, object]]:
        """The keys of all rows that left the channel so far."""
        return [event.key for event in self._all() if isinstance(event, Gone)]

    @overload
    async def expect(
        self,
        kind: type[T],
        where: Callable[[T], bool] | None = None,
        /,
        *,
        timeout: float | None = None,
        **fields: object,
    ) -> T: ...
    @overload
    async def expect(
        self, where: Callable[[E], bool] | None = None, /, *, timeout: float | None = None, **fields: object
    ) -> E: ...
    async def expect(
        self,
        first: object = None,
        where: object = None,
        /,
        *,
        timeout: float | None = None,
        **fields: object,
    ) -> object:
        """Return the next event, or the next one that matches; events before it are skipped.

        `expect(StepCompleted)` matches a member of the channel's union, `expect(status="failed")` values of
        fields, `expect(lambda event: …)` a predicate. The call returns as soon as the event arrives. With
        `timeout=0` the event must be among those committed by now.

        Raises:
            EventMissing: no event matched in time, by default the 5 seconds of `flowcraft_timeout`.
        """
        __tracebackhide__ = True
        expectation = Expectation.of(self.channel.declaration, first, where, fields)
        return await self._expect(expectation, timeout)

    async def expect_gone(self, *, timeout: float | None = None, **key: object) -> Mapping[str, object]:
        """Return the key of the next row that leaves the channel, or of the next one with these values.

        `expect_gone(id=3)` after a delete, or after the row has moved to another channel of the family.
        Events before it are skipped, as by `expect`.

        Raises:
            EventMissing: no such row left in time.
        """
        __tracebackhide__ = True
        # as they are on the wire
        wanted = GoneExpectation(msgspec.json.decode(msgspec.json.encode(key)))
        return cast(Gone, await self._expect(wanted, timeout)).key

    async def _expect(self, expectation: Expectation | GoneExpectation, timeout: float | None) -> object:
        __tracebackhide__ = True
        seconds = self._context.timeout if timeout is None else timeout
        begin = self._read
        try:
            if not seconds:
                await self.settle()
            async with asyncio.timeout(seconds or None):
                return await self._next(expectation, waits=seconds > 0)
        except (TimeoutError, _NotReceived):
            after = f"within {seconds:g} s" if seconds else "among the events committed by now"
            raise missing(expectation, after, await self._failure_context(expectation, begin)) from None

    @overload
    async def expect_nothing(
        self, kind: type[T], where: Callable[[T], bool] | None = None, /, **fields: object
    ) -> None: ...
    @overload
    async def expect_nothing(self, where: Callable[[E], bool] | None = None, /, **fields: object) -> None: ...
    async def expect_nothing(self, first: object = None, where: object = None, /, **fields: object) -> None:
        """Check that no unread event was committed on this channel, or none that matches.

        The result is exact: the call first waits until everything committed by now is delivered.

        Raises:
            EventUnexpected: an unread event matches.
            TypeError: the channel is ephemeral on a database, where an event in flight cannot be detected.
        """
        __tracebackhide__ = True
        expectation = Expectation.of(self.channel.declaration, first, where, fields)
        if not self._context.is_exact_for(self.channel):
            raise TypeError(
                f"{self.channel.name} is ephemeral: on a database, an event in flight cannot be detected; "
                "use the `realtime` fixture, in memory"
            )
        await self.settle()
        unread = self._all()[self._read :]
        anything = first is None and where is None and not fields
        found = [event for event in unread if anything or expectation.fits(event)]
        if found:
            raise unexpected(expectation, self.channel.name, found)

    async def settle(self) -> None:
        """Wait until everything committed by now is delivered."""
        mark = await self._context.draw_mark()
        self._gateway.received(msgspec.json.encode({"settle": str(mark)}).decode())
        async with asyncio.timeout(_ANSWER_SECONDS):
            while mark not in self._inbox.settled:
                await self._inbox.news()

    def close(self) -> None:
        """Disconnect; idempotent."""
        self._gateway.closed()

    async def _next(self, expectation: Expectation | GoneExpectation, *, waits: bool) -> object:
        while True:
            while self._read < len(self._inbox.received):
                self._read += 1
                event = self._event(self._read - 1)
                if expectation.fits(event):
                    return event
            if not waits:
                raise _NotReceived
            await self._inbox.news()

    def _all(self) -> list[object]:
        return [self._event(index) for index in range(len(self._inbox.received))]

    def _event(self, index: int) -> object:
        received = self._inbox.received[index]
        if isinstance(received, Record) and received.kind is Kind.GONE:
            return Gone(msgspec.json.decode(received.payload))
        if isinstance(received, Record) and received.kind is Kind.SKIPPED:
            return Skipped(received.reason)
        # The channel's declaration checks the event's type at the broadcast and decodes it here.
        return self.channel.declaration.payload.decode(received.payload)

    async def _failure_context(
        self, expectation: Expectation | GoneExpectation, begin: int
    ) -> FailureContext:
        records = await self._context.committed_since(self._begun)
        received = self._all()
        return FailureContext(
            channel=self.channel.name,
            durable=self.channel.declaration.durable,
            received=received,
            passed_before=any(map(expectation.fits, received[:begin])),
            elsewhere=[record for record in records if record.channel != self.channel.name],
            unfinished=self._context.unfinished(),
            source=self._context.source,
        )
