"""Answers: read the log and the rows for edges that ask, and broadcast for them."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import nullcontext, suppress
from typing import Protocol, final

from msgspec.structs import replace

from flowcraft.adapters.nats.connection import Arrival, NatsConnection
from flowcraft.adapters.nats.messages import (
    Answer,
    Ask,
    AskError,
    BatchMember,
    MessageInvalid,
    RowsMember,
    cut,
    decode,
    encode,
)
from flowcraft.core.attendance import Change
from flowcraft.core.withdrawals import Withdrawal
from flowcraft.cursors import Lineage
from flowcraft.errors import (
    CursorExpired,
    CursorRewound,
    CursorUnusable,
    LogUnavailable,
    RealtimeError,
    RowsLimitExceeded,
    RowsUnreadable,
)
from flowcraft.ports import EventLog, LogReader
from flowcraft.records import Batch, Limit

logger = logging.getLogger(__name__)

READS_AT_ONCE = 4
"""Questions that are read for at a time; the others wait. The pool of the log has as many connections."""
SHARED = frozenset({"position", "tail", "replay", "rows"})
"""Questions that change nothing."""
MOST_WAITING = 1_000
"""Questions that wait; more are not answered, and their edges ask again."""
ACKNOWLEDGED_SECONDS = 5.0
"""An edge that does not acknowledge a part of an answer in this time does not receive the rest."""


class Broadcasts(Protocol):
    """Broadcasts and withdraws for edges, which have encoded and checked the event."""

    async def broadcast_encoded(self, channel: str, payload: str) -> None:
        """Broadcast an event in a transaction of its own."""
        ...

    async def revoke(self, withdrawal: Withdrawal) -> None:
        """Write a withdrawal into the log."""
        ...


@final
class Answers:
    """Answers questions on one connection, several at a time; `spawn` owns their tasks.

    `log` is not the one of the relay: its wakeups take each `tail` for one of the relay's own.
    """

    def __init__(
        self,
        relay: str,
        connection: NatsConnection,
        reader: LogReader,
        broadcasts: Broadcasts,
        *,
        log: EventLog,
        lineage: Callable[[], Lineage],
        spawn: Callable[[Coroutine[object, object, None], str], object],
    ) -> None:
        self._relay = relay
        self._connection = connection
        self._log = log
        self._rows = reader.rows
        self._members = reader.members
        self._broadcasts = broadcasts
        self._published_lineage = lineage
        self._read_lineage = lineage()
        self._spawn = spawn
        self._turns = asyncio.Semaphore(READS_AT_ONCE)
        self._tails = asyncio.Lock()
        self._unread: dict[bytes, list[str]] = {}
        """The replies to questions whose read has not begun, by the question."""
        self._waiting = 0
        self._numbers = itertools.count(1)
        self._acknowledged: dict[str, asyncio.Event] = {}
        self.answered: Counter[str] = Counter()
        """Questions that were answered, by kind."""

    async def listen(self, subject: str) -> None:
        """Subscribe to the questions.

        Raises:
            LogUnavailable: the connection is lost, or this user may not subscribe.
        """
        await self._connection.subscribe(f"_INBOX.{self._relay}.*", self._take_acknowledgement)
        await self._connection.subscribe(subject, self._take)

    def _take(self, arrival: Arrival) -> None:
        try:
            ask = decode(arrival.data, Ask)
        except MessageInvalid as error:
            logger.warning("a question of an edge is not as specified: %.200s", error)
            return
        lineage = self._lineage()
        if ask.lineage is not None and ask.lineage > lineage.rank:
            return  # this relay reads a primary that was replaced
        if not arrival.reply or self._waiting >= MOST_WAITING:
            return
        self._waiting += 1
        # After a relay's restart all edges ask the same; one read serves those that ask before it begins.
        if ask.ask in SHARED and arrival.data in self._unread:
            self._unread[arrival.data].append(arrival.reply)
            return
        replies = [arrival.reply]
        if ask.ask in SHARED:
            self._unread[arrival.data] = replies
        self._spawn(self._answer(ask, arrival.data, replies), "answer")

    async def _answer(self, ask: Ask, data: bytes, replies: list[str]) -> None:
        try:
            async with self._turns, self._tails if ask.ask == "tail" else nullcontext():
                if self._unread.get(data) is replies:
                    del self._unread[data]
                answer = await self._outcome(ask)
        finally:
            self._waiting -= len(replies)
        content = encode(answer)
        with suppress(LogUnavailable):
            await asyncio.gather(*[self._send(content, reply) for reply in replies])
            self.answered[ask.ask] += len(replies)

    async def _outcome(self, ask: Ask) -> Answer:
        try:
            return await self._found(ask)
        except RealtimeError as error:
            return self._error(_described(error))
        except Exception as error:
            logger.exception("the answer to %s failed", ask.ask)
            return self._error(AskError("failed", type(error).__name__))

    async def _found(self, ask: Ask) -> Answer:
        limit = None if ask.events is None else Limit(ask.events, ask.bytes)
        match ask.ask:
            case "position":
                return self._batch(await self._log.position())
            case "tail":
                return self._batch(await self._log.tail(ask.cursor, limit=limit))
            case "replay":
                return self._batch(await self._log.replay(ask.cursor, ask.channels, limit=limit))
            case "rewound":
                return self._batch(await self._log.rewound(ask.cursor))
            case "rows":
                return await self._found_rows(ask.channels[0], limit or Limit(2**31 - 1))
            case "broadcast":
                await self._broadcasts.broadcast_encoded(ask.channels[0], ask.payload)
            case "revoke":
                await self._broadcasts.revoke(Withdrawal.parse(ask.payload))
            case _:
                return await self._found_members(ask)
        return self._made()

    async def _found_members(self, ask: Ask) -> Answer:
        members = self._members
        if members is None:
            return self._error(AskError("presence_unsupported", "the relay's backend stores no members"))
        answer = self._made()
        match ask.ask:
            case "presence_beat":
                return replace(answer, beats=dict(await members.beat(ask.node)))
            case "presence_attend":
                changes = [Change(*change) for change in ask.changes]
                return replace(answer, done=await members.attend(ask.node, changes, whole=ask.whole))
            case _:
                return replace(answer, names=tuple(await members.forget(ask.beats)))

    async def _found_rows(self, channel: str, limit: Limit) -> Answer:
        if self._rows is None:
            raise RowsUnreadable(channel, "the relay's backend has no rows")
        try:
            found = await self._rows.read(channel, limit)
        except KeyError:
            raise RowsUnreadable(channel, "the relay does not declare it; is it of this version?") from None
        return self._made(rows=RowsMember.of(found))

    def _lineage(self) -> Lineage:
        """Return the newest lineage that this relay has read, for itself or for an edge."""
        return max(self._published_lineage(), self._read_lineage, key=lambda one: one.rank)

    def _batch(self, batch: Batch) -> Answer:
        lineage = self._read_lineage = batch.cursor.lineage
        return Answer(
            relay=self._relay,
            lineage=lineage.rank,
            batch=BatchMember.of(batch),
        )

    def _error(self, error: AskError) -> Answer:
        return self._made(error=error)

    def _made(self, rows: RowsMember | None = None, error: AskError | None = None) -> Answer:
        lineage = self._lineage()
        return Answer(relay=self._relay, lineage=lineage.rank, rows=rows, error=error)

    async def _send(self, content: bytes, reply: str) -> None:
        """Send the parts of an answer: all but the last have to be acknowledged."""
        number = next(self._numbers)
        parts = list(cut(content, self._relay, number))
        for part in parts[:-1]:
            subject = f"_INBOX.{self._relay}.{number}"
            acknowledged = self._acknowledged[subject] = asyncio.Event()
            try:
                await self._connection.publish(reply, part, subject)
                async with asyncio.timeout(ACKNOWLEDGED_SECONDS):
                    await acknowledged.wait()
            except TimeoutError:
                logger.info("an edge does not take its answer; the rest is not sent")
                return
            finally:
                del self._acknowledged[subject]
        await self._connection.publish(reply, parts[-1])

    def _take_acknowledgement(self, arrival: Arrival) -> None:
        acknowledged = self._acknowledged.get(arrival.subject)
        if acknowledged is not None:
            acknowledged.set()


def _described(error: RealtimeError) -> AskError:
    match error:
        case CursorExpired():
            return AskError("expired", floor=error.floor)
        case CursorRewound():
            return AskError("rewound", lost=tuple(sorted(error.lost)))
        case CursorUnusable():
            return AskError(error.reason)
        case RowsLimitExceeded():
            return AskError("limit_exceeded", error.advice, limit=error.limit, value=error.value)
        case RowsUnreadable():
            return AskError("rows_unreadable", error.reason)
        case _:
            return AskError(error.code, str(error))
