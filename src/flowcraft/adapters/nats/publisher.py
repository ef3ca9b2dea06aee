"""Publisher: send what a relay reads to the edges, and its beats."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from dataclasses import replace
from typing import final

from flowcraft.adapters.nats.connection import Arrival, NatsConnection
from flowcraft.adapters.nats.messages import (
    LIVE_BYTES,
    Beat,
    EphemeralMessage,
    MessageInvalid,
    Subjects,
    Wake,
    cut,
    decode,
    encode,
    encode_link,
)
from flowcraft.adapters.nats.stream import LiveStream
from flowcraft.core.chain import Link
from flowcraft.cursors import Lineage, ResetReason
from flowcraft.errors import LogUnavailable
from flowcraft.records import Batch, Ephemeral

logger = logging.getLogger(__name__)

BEAT_SECONDS = 0.5
FORGET_SECONDS = 2.5
"""A nonce is echoed for this long: with an older one an edge proves nothing."""
PAUSED_SECONDS = 2.0
"""After a pause of the process this long, events outside the log are dropped: another relay sent them."""
MOST_EDGES = 10_000
"""Edges whose nonces are echoed; a beat must fit into a message."""


@final
class Publisher:
    """Takes what the relay reads (`runtime.relay.Receiver`), and publishes it before the next read.

    A batch that cannot be published is not kept: its edges find the gap, and ask.
    """

    def __init__(
        self,
        relay: str,
        connection: NatsConnection,
        subjects: Subjects,
        start: Batch,
        stream: LiveStream | None = None,
    ) -> None:
        self.relay = relay
        self.stream = stream
        """Keeps the newest batches, if there is one."""
        self._connection = connection
        self._subjects = subjects
        self._position = replace(start, records=(), unreadable=())
        self._links: list[Link] = []
        self._numbers = itertools.count(1)
        self._nonces: dict[str, tuple[int, float]] = {}
        self._echo: tuple[tuple[str, int], ...] = ()
        self._beat_at = self._active_at = float("-inf")
        self._read_at = time.monotonic()
        self._sending: set[asyncio.Task[None]] = set()
        self.moved = asyncio.Event()
        """Set once the log is that of another database: its edges follow other subjects."""
        self.published = 0
        """Batches with records that were published."""

    @property
    def lineage(self) -> Lineage:
        """The lineage of the last read."""
        return self._position.cursor.lineage

    def take_wake(self, arrival: Arrival) -> None:
        """Take the nonce of an edge: the next beat whose read begins from now on echoes it."""
        try:
            wake = decode(arrival.data, Wake)
        except MessageInvalid:
            return
        if wake.edge in self._nonces or len(self._nonces) < MOST_EDGES:
            self._nonces[wake.edge] = (wake.nonce, time.monotonic())

    @property
    def edges(self) -> int:
        """Edges that have sent a nonce lately."""
        return len(self._echo)

    def seconds_since_read(self) -> float:
        """Return how long ago the last read of the log ended."""
        return time.monotonic() - self._read_at

    async def leave(self) -> None:
        """Publish a last beat: another relay leads at once.

        Raises:
            LogUnavailable: the connection is lost.
        """
        position = Link(self._position.cursor, self._position)
        await self._connection.publish(
            self._subjects.beat, encode(Beat.of(self.relay, position, (), leaving=True))
        )

    # called by the relay (runtime.relay.Receiver)

    def reading(self) -> None:
        """Note that a read begins: it proves the nonces that have arrived."""
        oldest = self._active_at = time.monotonic()
        oldest -= FORGET_SECONDS
        self._nonces = {edge: nonce for edge, nonce in self._nonces.items() if nonce[1] > oldest}
        self._echo = tuple([(edge, number) for edge, (number, _) in self._nonces.items()])

    def feed(self, batch: Batch) -> None:
        """Take the next batch."""
        self._read_at = time.monotonic()
        self._links.append(Link(self._position.cursor, batch))
        self._position = replace(batch, records=(), unreadable=(), marks={}, oldest=None)

    def begin(self, start: Batch, reason: ResetReason) -> None:
        """Take a position that does not continue the last one: edges find the gap, and ask."""
        self._links.clear()
        self._read_at = time.monotonic()
        self._position = replace(start, records=(), unreadable=())
        self._beat_at = float("-inf")
        if Subjects.of(start.cursor.lineage) != self._subjects:
            self.moved.set()
        logger.info("publishing what follows %.100s (%s)", start.cursor, reason)

    async def until_sent(self) -> None:
        """Publish what was read.

        Raises:
            LogUnavailable: the connection is lost.
        """
        links, self._links = self._links, []
        for link in links:
            if link.batch.records or link.batch.unreadable:
                await self._publish(link)
        now = time.monotonic()
        if now - self._beat_at >= BEAT_SECONDS * 0.9:
            self._beat_at = now
            position = Link(self._position.cursor, self._position)
            beat = Beat.of(self.relay, position, self._echo)
            await self._connection.publish(self._subjects.beat, encode(beat))

    def send_ephemeral(self, event: Ephemeral) -> None:
        """Publish an event outside the log; it is not awaited, and may be lost."""
        if time.monotonic() - self._active_at > PAUSED_SECONDS:
            return
        message = EphemeralMessage(
            relay=self.relay, number=event.number, channel=event.channel, payload=event.payload
        )
        task = asyncio.ensure_future(self._send(encode(message)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, data: bytes) -> None:
        try:
            await self._connection.publish(self._subjects.ephemeral, data)
        except LogUnavailable as error:
            logger.warning("an event outside the log was not published: %s", error)

    async def _publish(self, link: Link) -> None:
        content = encode_link(link)
        if len(content) > LIVE_BYTES:
            logger.info("a batch of %d bytes is not published; edges ask for it", len(content))
            self._beat_at = float("-inf")
            return
        if self.stream is not None:
            await self.stream.publish(content, self.relay, next(self._numbers))
        else:
            for data in cut(content, self.relay, next(self._numbers)):
                await self._connection.publish(self._subjects.live, data)
        self.published += 1
