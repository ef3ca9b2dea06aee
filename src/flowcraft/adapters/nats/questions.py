"""Questions: ask a relay, and wait for its answer."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import final

from flowcraft.adapters.nats.connection import Arrival, NatsConnection
from flowcraft.adapters.nats.messages import (
    Answer,
    Ask,
    AskError,
    MessageInvalid,
    Subjects,
    decode,
    decode_part,
    encode,
)
from flowcraft.core.parts import Parts
from flowcraft.cursors import Lineage
from flowcraft.errors import (
    CursorExpired,
    CursorOfOtherDatabase,
    CursorRewound,
    LogTimeout,
    LogUnavailable,
    PayloadInvalid,
    RealtimeError,
)

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 8.0
"""Without a part of an answer for this long a question has failed: a relay's read may take 5 seconds."""
ANSWER_BYTES = 256 * 1024 * 1024
"""The longest answer: as much as a node may be behind, twice, because JSON escapes."""


class RelayFailed(RealtimeError):
    """A relay failed with a question in a way that is not foreseen; its log has the cause."""

    code = "relay_failed"


@dataclass(slots=True, eq=False)
class _Question:
    parts: Parts
    answer: asyncio.Future[Answer]
    arrived_at: float


@final
class Questions:
    """The questions of one connection. Answers of lineages that are outdated are ignored."""

    def __init__(
        self, connection: NatsConnection, subjects: Subjects, is_outdated: Callable[[Lineage], bool]
    ) -> None:
        self._connection = connection
        self._subjects = subjects
        self._is_outdated = is_outdated
        self._inbox = f"_INBOX.{secrets.token_hex(8)}"
        self._numbers = itertools.count(1)
        self._open: dict[str, _Question] = {}
        self._acknowledging: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        """Subscribe to the answers.

        Raises:
            LogUnavailable: the connection is lost, or this user may not subscribe.
        """
        await self._connection.subscribe(f"{self._inbox}.*", self._take)

    async def ask(self, ask: Ask) -> Answer:
        """Return the answer of a relay whose lineage is not outdated.

        Raises:
            LogUnavailable: no relay answers, or it cannot read the log.
            RealtimeError: the answer is an error.
        """
        reply = f"{self._inbox}.{next(self._numbers)}"
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        question = self._open[reply] = _Question(Parts(ANSWER_BYTES), answer, time.monotonic())
        try:
            await self._connection.publish(self._subjects.ask, encode(ask), reply)
            while not answer.done():
                patience = question.arrived_at + ANSWER_SECONDS - time.monotonic()
                if patience <= 0:
                    raise LogUnavailable(f"no relay has answered within {ANSWER_SECONDS:g} s")
                await asyncio.wait([answer], timeout=patience)
            return answer.result()
        finally:
            del self._open[reply]
            answer.cancel()

    def fail(self, reason: str) -> None:
        """End every open question: who was asked is gone."""
        for question in self._open.values():
            if not question.answer.done():
                question.answer.set_exception(LogUnavailable(reason))

    def _take(self, arrival: Arrival) -> None:
        question = self._open.get(arrival.subject)
        if question is None or question.answer.done():
            return
        if not arrival.answered:
            question.answer.set_exception(LogUnavailable("no relay listens; start one: flowcraft relay"))
            return
        question.arrived_at = time.monotonic()
        if arrival.reply:
            self._acknowledge(arrival.reply)
        try:
            content = question.parts.take(decode_part(arrival.data))
            answer = None if content is None else decode(content, Answer)
        except (MessageInvalid, ValueError) as error:
            logger.warning("an answer of a relay is not as specified: %.200s", error)
            return
        if answer is not None and not self._is_of_old_lineage(answer):
            question.answer.set_result(answer)

    def _is_of_old_lineage(self, answer: Answer) -> bool:
        timeline, generation = answer.lineage
        lineage = Lineage(self._subjects.system, timeline, generation, self._subjects.database)
        return self._is_outdated(lineage)

    def _acknowledge(self, subject: str) -> None:
        async def send() -> None:
            with suppress(LogUnavailable):  # the question fails with the connection
                await self._connection.publish(subject, b"")

        task = asyncio.ensure_future(send())
        self._acknowledging.add(task)
        task.add_done_callback(self._acknowledging.discard)


def error_of(error: AskError, cursor: str, what: str) -> RealtimeError:
    """Return the exception that an answer stands for."""
    match error.code:
        case "expired":
            return CursorExpired(cursor, error.floor)
        case "rewound":
            return CursorRewound(cursor, frozenset(error.lost))
        case "other_database":
            return CursorOfOtherDatabase(cursor)
        case "log_unavailable":
            return LogUnavailable(f"the relay cannot read the log: {error.text}")
        case "log_timeout":
            return LogTimeout(f"the relay cannot read the log: {error.text}")
        case "payload_invalid":
            return PayloadInvalid(what, error.text)
        case _:
            return RelayFailed(f"the relay failed ({error.text}); see its log")
