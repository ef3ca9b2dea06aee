"""Edge: the log and the wakeups of a node that follows relays, without a database."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import final

import msgspec

from flowcraft.adapters.nats.address import LogAddress
from flowcraft.adapters.nats.bridge import Bridge
from flowcraft.adapters.nats.connection import Arrival, NatsConnection
from flowcraft.adapters.nats.messages import (
    ANY_BEAT,
    LIVE_BYTES,
    Answer,
    Ask,
    Beat,
    CursorMember,
    EphemeralMessage,
    LogAsk,
    MessageInvalid,
    Subjects,
    Wake,
    decode,
    decode_link,
    decode_part,
    encode,
)
from flowcraft.adapters.nats.questions import Questions, error_of
from flowcraft.core.chain import Chain, Link, Taken
from flowcraft.core.parts import Parts
from flowcraft.core.report import EdgeReport
from flowcraft.core.wakeup import StateWord
from flowcraft.cursors import Cursor
from flowcraft.errors import LogUnavailable
from flowcraft.ports import BackendContext
from flowcraft.records import Batch, Ephemeral, Limit

logger = logging.getLogger(__name__)

NONCE_SECONDS = 0.5
"""How often an edge sends a nonce, whose echo proves that what arrives is not old."""
PROOF_SECONDS = 2.5
"""Without a proof for this long an edge is stale: it accepts no new clients."""
GAP_SECONDS = 0.03
"""Messages on two subjects may overtake each other; a gap that lasts longer is asked for."""
CONNECTED_SECONDS = 2.5
"""A read waits this long for a connection."""
FIND_SECONDS = 2.5
SURE_SECONDS = 0.6
"""After the first beat, for that of another database: one beat's interval and a little."""
_NUMBERS = 4_096
"""Numbers of ephemeral events that are remembered: two relays publish the same one within milliseconds."""


@final
class Edge:
    """Follows the relays of one database over one connection at a time, as long as `run` runs."""

    def __init__(self, address: LogAddress, context: BackendContext) -> None:
        settings = context.settings
        self._address = address
        self._deliver = context.deliver
        self._safety_seconds = settings.safety_poll_seconds
        self._id = secrets.token_hex(8)
        self._subjects = address.subjects
        self.chain = Chain(Limit(settings.backlog_events, settings.backlog_bytes))
        self._parts = Parts(LIVE_BYTES)
        self._questions: Questions | None = None
        self._connected = asyncio.Event()
        self._woken = asyncio.Event()
        self._must_ask = False
        """Whether the next read has to ask: events are missing, or the reader wants what is newest."""
        self._has_news = False
        self._gap_timer: asyncio.TimerHandle | None = None
        self.bridge: Bridge | None = None
        """Reads from the stream what was missed, if the address names one."""
        if address.stream is not None:
            self.bridge = Bridge(address.stream, self.chain, self._take_link, self._ask_for_gap)
        self._nonces: deque[tuple[int, float]] = deque(maxlen=16)
        self._nonce = 0
        self._proven_at = float("-inf")
        self._began = self._whole_at = time.monotonic()
        """When it had everything that it knew of."""
        self._relay = ""
        self._ephemeral: OrderedDict[int, None] = OrderedDict()
        self.rejected = 0
        """Messages that were not as specified."""
        self.asked = 0
        """Reads of the log that a relay answered."""
        self.gaps = 0
        """Gaps that had to be asked for."""
        self.last_error: str | None = "not connected yet"

    @property
    def is_fresh(self) -> bool:
        """Whether a relay has proven lately that it reads the log, and that this edge receives it."""
        return time.monotonic() - self._proven_at < PROOF_SECONDS

    async def run(self) -> None:
        """Connect, subscribe, and send nonces, for as long as the connection lasts.

        Raises:
            LogUnavailable: there is no connection (any more), or no relay.
        """
        try:
            async with NatsConnection.open(self._address, "flowcraft edge") as connection:
                await self._follow(connection)
        except LogUnavailable as error:
            self.last_error = str(error)
            raise
        finally:
            self._connected.clear()
            questions, self._questions = self._questions, None
            if questions is not None:
                questions.fail(self.last_error or "the connection to NATS was lost")
            if self.bridge is None or not self.bridge.end():
                self._woken.set()

    async def ask(self, ask: Ask) -> Answer:
        """Ask a relay of this database.

        Raises:
            LogUnavailable: there is no connection, or no relay answers.
        """
        if self._questions is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CONNECTED_SECONDS):
                    await self._connected.wait()
        if self._questions is None:
            raise LogUnavailable(self.last_error or "not connected to NATS")
        newest = self.chain.newest
        if newest is not None:
            ask = msgspec.structs.replace(ask, lineage=newest.rank)
        began = time.monotonic()
        answer = await self._questions.ask(ask)
        self._prove(began)
        return answer

    async def wait(self) -> None:
        """Return when the chain has news, or the reader has to ask: `ports.Wakeups`."""
        if not self._must_ask:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._safety_seconds):
                    await self._woken.wait()
        if self.bridge is not None:
            await self.bridge.wait(CONNECTED_SECONDS)
        self._woken.clear()
        self._has_news = self.chain.has_news and not self._must_ask

    def hurry(self) -> None:
        """Have the next read ask a relay, which reads the database then."""
        self._must_ask = True
        self._woken.set()

    def take_news(self, after: Cursor) -> Batch | None:
        """Return what has arrived after a cursor, once for each `wait` that ended with news."""
        had_news, self._has_news = self._has_news, False
        return self.chain.read(after) if had_news else None

    def asking(self) -> None:
        """Note that the reader asks: a wakeup before this is answered by it."""
        self._must_ask = False
        self.asked += 1

    @property
    def state(self) -> StateWord:
        """`follower` while it follows a relay."""
        return "follower" if self._questions is not None else "polling"

    @property
    def trouble(self) -> str | None:
        """Why nothing arrives, if nothing does."""
        if self.last_error is None and not self.is_fresh:
            return f"no relay has proven for {PROOF_SECONDS:g} s that it reads the log"
        return self.last_error

    def report(self) -> EdgeReport:
        """Return what has been received, for `/readyz` and the metrics."""
        now, proven = time.monotonic(), max(self._proven_at, self._began)
        behind = now - self._whole_at
        bridged = 0 if self.bridge is None else self.bridge.closed
        return EdgeReport(self.is_fresh, now - proven, behind, self.gaps, self.asked, self.rejected, bridged)

    async def _follow(self, connection: NatsConnection) -> None:
        subjects = self._subjects = self._subjects or await find_database(connection, self._address)
        questions = Questions(connection, subjects, self.chain.is_outdated)
        await questions.listen()
        for subject, take in (
            (subjects.live, self._take_live),
            (subjects.beat, self._take_beat),
            (subjects.ephemeral, self._take_ephemeral),
        ):
            await connection.subscribe(subject, self._guarded(take))
        self._questions = questions
        self._connected.set()
        self.last_error = None
        # Read after the subscription, not before: a batch in between would be missing.
        if self.bridge is not None:
            self.bridge.begin(connection, subjects)
        else:
            self.hurry()
        while not connection.lost.is_set():
            self._nonce += 1
            self._nonces.append((self._nonce, time.monotonic()))
            await connection.publish(subjects.wake, encode(Wake(edge=self._id, nonce=self._nonce)))
            with suppress(TimeoutError):
                async with asyncio.timeout(NONCE_SECONDS):
                    await connection.lost.wait()
            if not self.is_fresh:
                questions.fail("no relay answers")
        raise LogUnavailable(connection.trouble)

    def _guarded(self, take: Callable[[bytes], None]) -> Callable[[Arrival], None]:
        """Return a function that counts messages which are not as specified, and never raises."""

        def guarded(arrival: Arrival) -> None:
            try:
                take(arrival.data)
            except Exception as error:  # noqa: BLE001  # counted; the chain finds what is missing
                self.rejected += 1
                if self.rejected & (self.rejected - 1) == 0:
                    logger.warning(
                        "a message on %s is not as specified, %d so far: %.200s",
                        *(arrival.subject, self.rejected, error),
                    )

        return guarded

    def _take_live(self, data: bytes) -> None:
        part = decode_part(data)
        content = self._parts.take(part)
        if content is not None:
            self._take_link(decode_link(content))
        if self.bridge is not None:
            self.bridge.note(part, is_taken=content is not None)

    def _take_beat(self, data: bytes) -> None:
        beat = decode(data, Beat)
        link = beat.link
        self._take_link(link)
        if self.chain.is_outdated(link.batch.cursor.lineage):
            return
        if beat.relay != self._relay:
            is_first, self._relay = not self._relay, beat.relay
            if self._questions is not None and not is_first:
                self._questions.fail("another relay publishes now")
        nonce = dict(beat.echo).get(self._id)
        for number, sent_at in self._nonces:
            if number == nonce:
                self._prove(sent_at)

    def _take_link(self, link: Link) -> None:
        taken = self.chain.take(link)
        if taken is Taken.CONTINUED:
            self._woken.set()
        if taken is not Taken.IGNORED and not self.chain.has_gap:
            self._whole_at = time.monotonic()
        if self.chain.has_gap and self._gap_timer is None:
            loop = asyncio.get_running_loop()
            self._gap_timer = loop.call_later(GAP_SECONDS, self._close_gap)

    def _close_gap(self) -> None:
        self._gap_timer = None
        if not self.chain.has_gap:
            return
        if self.bridge is not None:
            self.bridge.read()
        else:
            self._ask_for_gap()

    def _ask_for_gap(self) -> None:
        self.gaps += self.chain.has_gap
        self.hurry()

    def _take_ephemeral(self, data: bytes) -> None:
        event = decode(data, EphemeralMessage)
        if event.number:
            if event.number in self._ephemeral:
                return
            self._ephemeral[event.number] = None
            if len(self._ephemeral) > _NUMBERS:
                self._ephemeral.popitem(last=False)
        self._deliver(Ephemeral(event.channel, event.payload, event.number))

    def _prove(self, at: float) -> None:
        self._proven_at = max(self._proven_at, at)


@final
class EdgeLog:
    """Implements `EventLog`: what has arrived, where a wait ended with it; and else a relay's answer."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def position(self) -> Batch:
        return await self._begin(Ask(ask="position"), "")

    async def tail(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        news = self._edge.take_news(after)
        if news is not None:
            return news
        return await self._begin(_about("tail", after, limit), str(after))

    async def replay(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        ask = msgspec.structs.replace(_about("replay", after, limit), channels=tuple(channels))
        return _batch_of(await self._edge.ask(ask), str(after))

    async def rewound(self, last: Cursor) -> Batch:
        return await self._begin(_about("rewound", last, None), str(last))

    async def _begin(self, ask: Ask, cursor: str) -> Batch:
        """Ask, and have the chain go on from the answer."""
        self._edge.asking()
        batch = _batch_of(await self._edge.ask(ask), cursor)
        self._edge.chain.begin(batch)
        return batch


async def find_database(connection: NatsConnection, address: LogAddress) -> Subjects:
    """Return the one database whose relays beat at an address.

    Raises:
        LogUnavailable: there is none, or more than one.
    """
    found: set[Subjects] = set()
    arrived = asyncio.Event()

    def note(arrival: Arrival) -> None:
        with suppress(MessageInvalid):
            found.add(Subjects.parse(arrival.subject))
            arrived.set()

    end = await connection.subscribe(ANY_BEAT, note)
    try:
        async with asyncio.timeout(FIND_SECONDS):
            await arrived.wait()
        await asyncio.sleep(SURE_SECONDS)
    except TimeoutError:
        reason = f"no relay publishes at {address}; start one: flowcraft relay"
        raise LogUnavailable(reason) from None
    finally:
        await end()
    if len(found) > 1:
        names = " and ".join(sorted(map(str, found)))
        raise LogUnavailable(
            f"relays of {names} publish at {address}; add one of these to the address, after a /"
        )
    return found.pop()


def _about(name: LogAsk, after: Cursor, limit: Limit | None) -> Ask:
    events, size = (None, None) if limit is None else (limit.events, limit.bytes)
    return Ask(ask=name, after=CursorMember.of(after), events=events, bytes=size)


def _batch_of(answer: Answer, cursor: str) -> Batch:
    if answer.error is not None:
        raise error_of(answer.error, cursor, "")
    if answer.batch is None:
        raise LogUnavailable("the relay's answer has no batch")
    return answer.batch.batch
