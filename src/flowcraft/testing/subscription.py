"""A subscription: what a client of a channel hears, to be expected by a test, without a sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar, cast, overload

import msgspec

from flowcraft.channels import Channel
from flowcraft.cursors import Cursor
from flowcraft.errors import RealtimeError
from flowcraft.ports import GatewayPort
from flowcraft.records import Record
from flowcraft.testing.expectations import Circumstances, Expectation, missing, unexpected
from flowcraft.testing.inbox import Inbox

E = TypeVar("E")  # invariant, as the channel is
T = TypeVar("T")
_ANSWER_SECONDS = 10.0


class _NotThere(Exception):
    """Everything was read, and nothing fits."""


class SubscriptionRefused(RealtimeError):
    """A client was not let in; `answer` is the code that it was told."""

    code = "forbidden"

    def __init__(self, channel: str, answer: str, reason: str) -> None:
        super().__init__(f"the subscription to {channel} was refused ({answer}): {reason}")
        self.channel = channel
        self.answer = answer


class SubscriptionContext(Protocol):
    """What a subscription needs of the realtime that it belongs to."""

    @property
    def timeout(self) -> float: ...
    async def draw_mark(self) -> int: ...
    async def committed_since(self, cursor: Cursor) -> Sequence[Record]: ...
    def unfinished(self) -> int: ...
    def is_exact_for(self, channel: Channel[E]) -> bool: ...
    @property
    def source(self) -> str: ...


class Subscription(Generic[E]):
    """What one client hears on one channel, from its subscription on. It is read in order, and never back."""

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
        self._surroundings = context
        self._read = 0

    @property
    def heard(self) -> list[E]:
        """Everything heard so far, read or not."""
        return [self._event(index) for index in range(len(self._inbox.heard))]

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
        """Return the next event, or the next one that fits; those before it are passed over.

        `expect(StepCompleted)` takes a member of the channel's union, `expect(status="failed")` values of
        fields, `expect(lambda event: …)` a condition. It returns as soon as the event is there. With
        `timeout=0` it must be there once all that has been committed by now is delivered.

        Raises:
            EventMissing: it did not come in time, by default the 5 seconds of `flowcraft_timeout`.
        """
        __tracebackhide__ = True
        expectation = Expectation.of(self.channel.declaration, first, where, fields)
        seconds = self._surroundings.timeout if timeout is None else timeout
        begin = self._read
        try:
            if not seconds:
                await self.settle()
            async with asyncio.timeout(seconds or None):
                return await self._next(expectation, waits=seconds > 0)
        except (TimeoutError, _NotThere):
            after = f"within {seconds:g} s" if seconds else "among all that was committed by now"
            raise missing(expectation, after, await self._circumstances(expectation, begin)) from None

    @overload
    async def expect_nothing(
        self, kind: type[T], where: Callable[[T], bool] | None = None, /, **fields: object
    ) -> None: ...
    @overload
    async def expect_nothing(self, where: Callable[[E], bool] | None = None, /, **fields: object) -> None: ...
    async def expect_nothing(self, first: object = None, where: object = None, /, **fields: object) -> None:
        """Make sure that nothing more was committed here, or nothing that fits; exact, and without a wait.

        Everything that has been committed by now is delivered first; it takes as long as that does.

        Raises:
            EventUnexpected: there is an unread event.
            TypeError: on a database an ephemeral event may be under way, and nobody can tell.
        """
        __tracebackhide__ = True
        expectation = Expectation.of(self.channel.declaration, first, where, fields)
        if not self._surroundings.is_exact_for(self.channel):
            raise TypeError(
                f"{self.channel.name} is ephemeral: on a database one may be under way, and nobody can tell; "
                "use the `realtime` fixture, in memory"
            )
        await self.settle()
        unread = [self._event(index) for index in range(self._read, len(self._inbox.heard))]
        found = [event for event in unread if expectation.fits(event)]
        if found:
            raise unexpected(expectation, self.channel.name, found)

    async def settle(self) -> None:
        """Wait until everything that has been committed by now is delivered."""
        mark = await self._surroundings.draw_mark()
        self._gateway.received(msgspec.json.encode({"settle": str(mark)}).decode())
        async with asyncio.timeout(_ANSWER_SECONDS):
            while mark not in self._inbox.settled:
                await self._news()

    def close(self) -> None:
        """Leave; idempotent."""
        self._gateway.closed()

    async def _next(self, expectation: Expectation, *, waits: bool) -> object:
        while True:
            while self._read < len(self._inbox.heard):
                self._read += 1
                event = self._event(self._read - 1)
                if expectation.fits(event):
                    return event
            if not waits:
                raise _NotThere
            await self._news()

    async def _news(self) -> None:
        if self._inbox.closed is not None:
            code, reason = self._inbox.closed
            raise ConnectionResetError(f"the server closed the connection ({code}, {reason})")
        await self._inbox.news()

    def _event(self, index: int) -> E:
        # What a channel carries is checked when it is broadcast, and decoded by its own declaration.
        return cast(E, self.channel.declaration.payload.decode(self._inbox.heard[index].payload))

    async def _circumstances(self, expectation: Expectation, begin: int) -> Circumstances:
        records = await self._surroundings.committed_since(self._begun)
        heard = self.heard
        return Circumstances(
            channel=self.channel.name,
            durable=self.channel.declaration.durable,
            heard=heard,
            fitted_before=any(map(expectation.fits, heard[:begin])),
            elsewhere=[record for record in records if record.channel != self.channel.name],
            unfinished=self._surroundings.unfinished(),
            source=self._surroundings.source,
        )
