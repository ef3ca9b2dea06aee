"""Bridge: read from a stream what an edge missed, before a relay is asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import final

from flowcraft.adapters.nats.address import StreamOptions
from flowcraft.adapters.nats.connection import NatsConnection, raise_if_cancelled
from flowcraft.adapters.nats.messages import LIVE_BYTES, Subjects, decode_link, decode_part
from flowcraft.core.chain import Chain, Link
from flowcraft.core.parts import Part, Parts

logger = logging.getLogger(__name__)

BRIDGED_MESSAGES = 64
"""An edge that misses more asks a relay: one answer has all of it."""
BRIDGED_SECONDS = 1.0
"""An edge that has not read what it misses in this time asks a relay."""


@final
class Bridge:
    """Reads what is missing from the stream, and calls `ask` where the stream lacks it.

    Numbers of the stream choose what to read; only the chain decides whether something is missing. A stream
    that was emptied, replaced or rolled back costs a question, and no event.
    """

    def __init__(
        self, options: StreamOptions, chain: Chain, take: Callable[[Link], None], ask: Callable[[], None]
    ) -> None:
        self._name = options.name
        self._chain = chain
        self._take = take
        self._ask = ask
        self._connection: NatsConnection | None = None
        self._subject = ""
        self._joined = 0
        """The number up to which the edge has everything; 0 if that is not known."""
        self._newest = 0
        """The newest number that has arrived."""
        self._reading: asyncio.Task[None] | None = None
        self._whole = asyncio.Event()
        """Cleared from the end of a connection until what was missed then has been read, or is asked for."""
        self._whole.set()
        self.closed = 0
        """Gaps that were closed without a question."""

    def begin(self, connection: NatsConnection, subjects: Subjects) -> None:
        """Read what was missed before this connection, which has subscribed."""
        self._connection, self._subject = connection, subjects.live
        self.read(look=True)

    def end(self) -> bool:
        """Note that the connection has ended; return whether the reader is to `wait` for the next one."""
        if self._reading is not None:
            self._reading.cancel()
        self._connection = self._reading = None
        if self._joined:
            self._whole.clear()
        return not self._whole.is_set()

    async def wait(self, seconds: float) -> None:
        """Wait until what was missed before the current connection has arrived, or is asked for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._whole.wait()

    def note(self, part: Part, *, is_taken: bool) -> None:
        """Note a part that has arrived, and whether it completed a link that was taken."""
        if part.sequence:
            self._newest = part.sequence
            if is_taken and not self._chain.has_gap:
                self._joined = part.sequence

    def read(self, *, look: bool = False) -> None:
        """Read what is missing, unless that is done already; with `look` the newest number first."""
        if self._reading is None and self._connection is not None:
            self._reading = asyncio.create_task(self._read(self._connection, look=look))

    async def _read(self, connection: NatsConnection, *, look: bool) -> None:
        is_closed = False
        try:
            is_closed = await self._closes(connection, look=look or self._newest <= self._joined)
            if not is_closed and not look:  # the last part may be among those that are missing
                is_closed = await self._closes(connection, look=True)
        finally:
            if self._reading is asyncio.current_task():
                self._reading = None
                if not is_closed:
                    self._ask()
                self._whole.set()

    async def _closes(self, connection: NatsConnection, *, look: bool) -> bool:
        """Take what the stream has; return whether nothing is known to be missing any more."""
        parts = await self._missing(connection, look=look)
        for link in _links_of(parts or []):
            self._take(link)
        if parts is None or self._chain.has_gap:
            return False
        self._joined = self._newest
        self.closed += bool(parts)
        return True

    async def _missing(self, connection: NatsConnection, *, look: bool) -> list[bytes] | None:
        """Return the parts after the last one that the edge has, or None if these are too many, or gone."""
        if not self._joined:
            return None
        stream = connection.jetstream(BRIDGED_SECONDS)
        try:
            async with asyncio.timeout(BRIDGED_SECONDS):
                if look:
                    last = await stream.get_msg(self._name, subject=self._subject, direct=True)
                    self._newest = last.seq or 0
                if not self._joined <= self._newest <= self._joined + BRIDGED_MESSAGES:
                    return None
                numbers = range(self._joined + 1, self._newest + 1)
                found = await asyncio.gather(
                    *[stream.get_msg(self._name, number, direct=True) for number in numbers]
                )
        except Exception as error:  # noqa: BLE001  # whatever it is, a relay is asked
            logger.info("what is missing cannot be read from stream %s: %s", self._name, error)
            return None
        finally:
            raise_if_cancelled()
        return [message.data or b"" for message in found]


def _links_of(parts: list[bytes]) -> list[Link]:
    """Return the links whose parts are all there; whether one is missing the chain finds."""
    joining = Parts(LIVE_BYTES)
    links: list[Link] = []
    for data in parts:
        with suppress(ValueError):
            content = joining.take(decode_part(data))
            if content is not None:
                links.append(decode_link(content))
    return links


async def newest_number(connection: NatsConnection, stream: str, subjects: Subjects) -> int | None:
    """Return the newest number in a stream, 0 if it is empty, None if it cannot be read."""
    from nats.js.errors import NotFoundError

    jetstream = connection.jetstream(BRIDGED_SECONDS)
    try:
        newest = await jetstream.get_msg(stream, subject=subjects.live, direct=True)
    except NotFoundError:
        return 0
    except Exception as error:  # noqa: BLE001  # without permission, stream or JetStream there is no answer
        logger.debug("stream %s cannot be read: %s", stream, error)
        return None
    finally:
        raise_if_cancelled()
    return newest.seq or 0
