"""What both kinds of realtime for tests have: the node, its clients, and the viewers that tests name."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from flowcraft.carrier_ports import GatewayPort
from flowcraft.channels import Channels
from flowcraft.cursors import Cursor
from flowcraft.declared_channels import Channel, PresenceChannel, RowsChannel
from flowcraft.errors import ChannelUnknown, TokenInvalid
from flowcraft.ports import Backend, EventLog
from flowcraft.records import Record
from flowcraft.runtime.node import Node
from flowcraft.runtime.serving import Serving
from flowcraft.settings import Settings
from flowcraft.testing.inbox import Inbox
from flowcraft.testing.rows_subscription import RowsInbox, RowsSubscription
from flowcraft.testing.subscription import Subscription, SubscriptionRefused
from flowcraft.viewers import Viewer

E = TypeVar("E")
M = TypeVar("M")
_ANSWER_SECONDS = 10.0
# Hours, so that a pause in a debugger neither times a client out nor triggers a poll.
_SETTINGS = Settings(
    safety_poll_seconds=3600.0, heartbeat_seconds=3600.0, presence_grace_seconds=0.1, development=True
)


class _TestAuthorizer:
    """Implements `flowcraft.ports.Authorizer` for the viewers that a test names."""

    required = False

    def __init__(self) -> None:
        self._viewers: dict[str, Viewer] = {}

    def admit(self, viewer: Viewer) -> str:
        """Return a token that authenticates as a viewer."""
        token = str(len(self._viewers))
        self._viewers[token] = viewer
        return token

    async def authenticate(self, token: str) -> Viewer:
        try:
            return self._viewers[token]
        except KeyError:
            raise TokenInvalid from None


class RealtimeUnderTest(ABC):
    """The base of both kinds. It implements `RealtimeService`: pass it to the code under test.

    The server starts with the first subscription, in the event loop of the test, and stops with the test.
    """

    def __init__(
        self, channels: Channels, backend: Backend, log: EventLog, timeout: float, members_listed: int
    ) -> None:
        self._settings = msgspec.structs.replace(_SETTINGS, members_listed=members_listed)
        self.channels = channels
        self._backend = backend
        self._log = log
        self.timeout = timeout
        self.loop: asyncio.AbstractEventLoop | None = None
        self._authorizer = _TestAuthorizer()
        self._serving: Serving | None = None
        self._subscriptions: list[Callable[[], None]] = []

    async def broadcast(self, channel: Channel[E], event: E, *, via: object | None = None) -> None:
        """Broadcast an event on a channel; see `RealtimeService.broadcast`."""
        await self._backend.service.broadcast(channel, event, via=via)

    async def subscribe(self, channel: Channel[E], *, since: Cursor | None = None) -> Subscription[E]:
        """Subscribe like a client without a token: from now on, or after a cursor.

        Raises:
            SubscriptionRefused: the channel has a guard, or the log cannot be replayed from the cursor.
        """
        return await self.subscribe_as(channel, since, None)

    async def rows(self, channel: RowsChannel[E]) -> RowsSubscription[E]:
        """Open a page of a client without a token that shows the rows of a channel, once they have arrived.

        Raises:
            SubscriptionRefused: the channel has a guard, or its rows cannot be read.
        """
        return await self.rows_as(channel, None)

    def as_viewer(self, viewer: Viewer | str, **claims: object) -> AsViewer:
        """Return a client of a viewer: a `Viewer`, or a subject and its claims."""
        return AsViewer(self, viewer if isinstance(viewer, Viewer) else Viewer(viewer, claims))

    async def cursor(self) -> Cursor:
        """Return the current cursor of the log, as `flowcraft.cursor()` does."""
        await self._start()
        return (await self._log.position()).cursor

    async def close(self) -> None:
        """End every subscription and stop; idempotent."""
        for end in self._subscriptions:
            end()
        self._subscriptions.clear()
        serving, self._serving = self._serving, None
        if serving is not None:
            await serving.stop()
        await self._backend.close()

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Implemented by each kind

    @abstractmethod
    async def prepare(self) -> None:
        """Prepare the backend, once; subscribing does it too."""

    @abstractmethod
    async def draw_mark(self) -> int:
        """Run a transaction and return its id: a client that has settled it has all earlier commits too."""

    @abstractmethod
    def unfinished(self) -> int:
        """Return how many transactions have begun and not ended, if known."""

    @abstractmethod
    def is_exact_for(self, channel: Channel[E]) -> bool:
        """Return whether a test can know that no event of this channel is in flight."""

    @property
    @abstractmethod
    def source(self) -> str:
        """The next step for a test whose event did not arrive."""

    async def committed_since(self, cursor: Cursor) -> Sequence[Record]:
        """Return the records committed after a cursor, on all channels."""
        return (await self._log.tail(cursor)).records

    # Shared

    async def _start(self) -> Node:
        running = running_loop()
        if self._serving is None:
            self.loop = running
            await self.prepare()
            self._serving = Serving(
                self.channels, self._backend, settings=self._settings, authorizer=self._authorizer
            )
            self._serving.start()
            await self._serving.node.until_accepting()
        elif self.loop is not running:
            raise RuntimeError(
                "this realtime runs in another event loop; use it from one loop, or create another"
            )
        return self._serving.node

    async def subscribe_as(
        self, channel: Channel[E], since: Cursor | None, viewer: Viewer | None
    ) -> Subscription[E]:
        """Subscribe as a viewer, or without one: the implementation of `subscribe` here and in `AsViewer`."""
        self._check_ours(channel)
        node, inbox = await self._start(), Inbox()
        # Not the server's cursor: the server may still have to read commits from before this call.
        begun = since or (await self._log.position()).cursor
        gateway = node.connect(inbox)
        self._subscriptions.append(gateway.closed)
        if viewer is not None:
            gateway.received(_frame(auth=self._authorizer.admit(viewer)))
        gateway.received(_frame(subscribe=[channel.name], since=str(begun)))
        await _subscribed(channel.name, gateway, inbox, viewer)
        return Subscription(channel, gateway, inbox, begun, self)

    async def rows_as(
        self, channel: RowsChannel[E], viewer: Viewer | None, *, present: bool = False
    ) -> RowsSubscription[E]:
        """Show rows as a viewer, or without one: the implementation of `rows` here and in `AsViewer`."""
        self._check_ours(channel)
        node, inbox = await self._start(), RowsInbox(channel=channel.name, present=present)
        gateway = node.connect(inbox)
        self._subscriptions.append(gateway.closed)
        inbox.send = lambda frame: gateway.received(_frame(**frame))
        if viewer is not None:
            inbox.send({"auth": self._authorizer.admit(viewer)})
        inbox.ask()
        await _subscribed(channel.name, gateway, inbox, viewer)
        return RowsSubscription(channel, gateway, inbox, self)

    def _check_ours(self, channel: Channel[E] | RowsChannel[E]) -> None:
        try:
            declaration, _ = self.channels.resolve(channel.name)
        except ChannelUnknown:
            declaration = None
        if declaration is not channel.declaration:
            raise TypeError(
                f"{channel.name} is not a channel of this realtime; let the fixture `realtime_channels` "
                "return the channels of your application"
            )


@dataclass(frozen=True, slots=True)
class AsViewer:
    """A client of a viewer: guards are called with this viewer."""

    realtime: RealtimeUnderTest
    viewer: Viewer

    async def subscribe(self, channel: Channel[E], *, since: Cursor | None = None) -> Subscription[E]:
        """Subscribe as this viewer.

        Raises:
            SubscriptionRefused: the channel's guard refused, or the log cannot be replayed from the cursor.
        """
        return await self.realtime.subscribe_as(channel, since, self.viewer)

    async def rows(self, channel: RowsChannel[E]) -> RowsSubscription[E]:
        """Show the rows of a channel as this viewer.

        Raises:
            SubscriptionRefused: the channel's guard refused, or its rows cannot be read.
        """
        return await self.realtime.rows_as(channel, self.viewer)

    async def present(self, channel: PresenceChannel[E, M]) -> RowsSubscription[M]:
        """Open a page on which this viewer is present, and which shows the members of the channel.

        The viewer leaves a tenth of a second after the last of its pages is closed. Another client sees the
        members with `rows(channel.members)`.

        Raises:
            SubscriptionRefused: the channel's guard refused.
        """
        return await self.realtime.rows_as(channel.members, self.viewer, present=True)


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of the test.

    Raises:
        RuntimeError: the test does not run on asyncio.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "realtime needs asyncio; run the test on asyncio (anyio_backend 'asyncio')"
        ) from None


def _frame(**members: object) -> str:
    return msgspec.json.encode(members).decode()


async def _subscribed(channel: str, gateway: GatewayPort, inbox: Inbox, viewer: Viewer | None) -> None:
    """Wait until the server has subscribed the client, or raise SubscriptionRefused."""
    async with asyncio.timeout(_ANSWER_SECONDS):
        while inbox.answer is None:
            await inbox.news()
    if inbox.answer != "subscribed":
        gateway.closed()
        raise SubscriptionRefused(channel, inbox.answer, _reason(inbox.answer, viewer))


def _reason(code: str, viewer: Viewer | None) -> str:
    if code in {"limit_exceeded", "rows_unreadable"}:
        return "its rows cannot be sent: see the log of `flowcraft`, and `rows_per_channel` and `rows_bytes`"
    if code != "forbidden":
        return "the log cannot be replayed from the cursor; subscribe without a cursor, or from a newer one"
    if viewer is None:
        return "the channel has a guard, which needs a viewer; subscribe with realtime.as_viewer(…)"
    return f"its guard refused {viewer.subject!r}, or raised: see the exception in the log of `flowcraft`"
