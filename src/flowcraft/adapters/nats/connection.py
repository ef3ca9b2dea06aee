"""NatsConnection: one connection to NATS, as long as it lasts; its owner opens the next one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, final

from flowcraft.adapters.nats.address import LogAddress
from flowcraft.adapters.nats.messages import PAYLOAD_BYTES
from flowcraft.errors import LogUnavailable, RealtimeError

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

CONNECT_SECONDS = 5.0
PING_SECONDS = 2
"""A server that answers two pings in a row not, is lost."""
_PERMISSIONS = "permissions violation"


class NatsMissing(RealtimeError):
    """The package that speaks with NATS is not installed."""

    code = "nats_missing"

    def __init__(self) -> None:
        super().__init__(
            "an edge or a relay needs nats-py: pip install 'flowcraft-realtime[nats]'; "
            "or unset FLOWCRAFT_LOG_URL to read the database"
        )


def require_nats() -> None:
    """Raise an error if nats-py is not installed.

    Raises:
        NatsMissing: it is not.
    """
    if find_spec("nats") is None:
        raise NatsMissing


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that has arrived. `answered` is False where nothing listens to what was asked."""

    subject: str
    data: bytes
    reply: str
    answered: bool


@final
class NatsConnection:
    """Publishes and subscribes. It does not connect again: `lost` is set, and `trouble` has the reason."""

    def __init__(self, address: LogAddress, client: Client) -> None:
        self._address = address
        self._client = client
        self.lost = asyncio.Event()
        self.trouble = f"the connection to NATS at {address} was lost"

    @classmethod
    @asynccontextmanager
    async def open(cls, address: LogAddress, name: str) -> AsyncIterator[NatsConnection]:
        """Connect to one of the servers.

        Raises:
            LogUnavailable: none can be reached, refuses, or accepts messages that are too small.
            NatsMissing: nats-py is not installed.
        """
        require_nats()
        from nats.aio.client import Client

        client = Client()
        opened = cls(address, client)
        await opened._connect(name)
        try:
            yield opened
        finally:
            await opened._close()

    async def publish(
        self, subject: str, data: bytes, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a message; whether it arrives is not known.

        Raises:
            LogUnavailable: the connection is lost.
        """
        from nats.errors import Error

        try:
            await self._client.publish(subject, data, reply=reply, headers=dict(headers) if headers else None)
        except (Error, OSError) as error:
            self._lose(str(error))
            raise LogUnavailable(self.trouble) from error

    async def subscribe(self, subject: str, take: Callable[[Arrival], None]) -> Callable[[], Awaitable[None]]:
        """Have messages passed to a function, in order; return a function that ends that.

        Raises:
            LogUnavailable: the connection is lost, or this user may not subscribe.
        """
        from nats.errors import Error

        async def pass_on(message: Msg) -> None:  # nats-py wants a coroutine
            headers = message.headers or {}
            answered = bool(message.data) or headers.get("Status") != "503"
            take(Arrival(message.subject, message.data, message.reply, answered))

        try:
            subscription = await self._client.subscribe(subject, cb=pass_on)  # pyright: ignore[reportUnknownMemberType]
            await self._client.flush()
        except (Error, OSError) as error:
            self._lose(str(error))
            raise LogUnavailable(self.trouble) from error

        if self.lost.is_set():
            raise LogUnavailable(self.trouble)

        async def end() -> None:
            with suppress(Error, OSError):
                await subscription.unsubscribe()

        return end

    def jetstream(self, seconds: float) -> JetStreamContext:
        """JetStream of this account, with a time limit for its answers. The connection need not have it."""
        return self._client.jetstream(timeout=seconds)  # pyright: ignore[reportUnknownMemberType]

    @property
    def address(self) -> LogAddress:
        """Where NATS is."""
        return self._address

    @property
    def max_payload(self) -> int:
        """The largest message that the server accepts, in bytes."""
        return self._client.max_payload

    async def _connect(self, name: str) -> None:
        reasons: list[str] = []

        async def note(error: Exception) -> None:  # nats-py wants a coroutine
            text = str(error) or type(error).__name__
            reasons.append(text)
            if _PERMISSIONS in text.lower():
                self._lose(
                    f"{text.removeprefix('nats: ')}; the user of {self._address} lacks this permission"
                )

        async def lose() -> None:
            self._lose(None)

        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._client.connect(
                    list(self._address.servers),
                    name=name,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=2,
                    ping_interval=PING_SECONDS,
                    error_cb=note,
                    closed_cb=lose,
                    disconnected_cb=lose,
                )
        except asyncio.CancelledError:
            await self._close()
            raise
        except Exception as error:
            await self._close()
            raise_if_cancelled()
            reason = reasons[0] if reasons else str(error) or type(error).__name__
            raise LogUnavailable(
                f"NATS at {self._address} cannot be reached: {reason.removeprefix('nats: ')}; "
                "see FLOWCRAFT_LOG_URL"
            ) from error
        try:
            raise_if_cancelled()
        except asyncio.CancelledError:
            await self._close()
            raise
        if self.max_payload < PAYLOAD_BYTES:
            found = self.max_payload
            await self._close()
            raise LogUnavailable(
                f"NATS at {self._address} accepts messages of at most {found} bytes; "
                f"set its max_payload to {PAYLOAD_BYTES} or more"
            )

    def _lose(self, reason: str | None) -> None:
        if not self.lost.is_set():
            self.trouble = reason or self.trouble
            self.lost.set()

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(1):
                await self._client.close()
        except Exception:  # noqa: BLE001, S110  # it is gone either way
            pass


def raise_if_cancelled() -> None:
    """Raise `CancelledError` if this task is to end: `wait_for` of Python 3.11, in nats-py, may hide it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling() > 0:
        raise asyncio.CancelledError from None
