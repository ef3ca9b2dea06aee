"""States: read the rows of channels, one read and one encoding for everybody who asks for them."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias
from weakref import WeakValueDictionary

from flowcraft.channels import Channels
from flowcraft.core.answers import PAGE_BYTES
from flowcraft.core.bundles import Bundle
from flowcraft.core.frames import rows
from flowcraft.core.screening import EventCheck
from flowcraft.core.states import State, StateRequest
from flowcraft.cursors import Cursor
from flowcraft.errors import LogUnavailable, PayloadInvalid, RowsLimitExceeded, RowsUnreadable
from flowcraft.ports import Clock, RowsReader
from flowcraft.records import Limit, TableRows
from flowcraft.runtime.isolation import Isolation, is_stopping
from flowcraft.runtime.supervisor import Supervisor
from flowcraft.settings import Settings

logger = logging.getLogger(__name__)

Answer: TypeAlias = State | RowsLimitExceeded | RowsUnreadable | LogUnavailable
READS_AT_ONCE = 3
"""The most reads of one node that run at a time; the pool of the database has as many connections."""
SLICE = 10
"""Requests that are answered at a turn of the event loop, as of replays."""
KEPT_SECONDS = 5.0
"""A state serves others for this long, with what followed it: however many open a list, it is read once."""
KEPT_BYTES = 32 * 1024 * 1024
"""The most bytes of states that are kept to serve others."""
MOST_ATTEMPTS = 8
"""After so many states that could not be sent, a request is answered with an error."""


class StateAnswersPort(Protocol):
    """Takes the answers of `States`."""

    def take(self, answers: Sequence[tuple[StateRequest, Answer]]) -> None:
        """Pass answers on; it must not raise because of one of them."""
        ...

    def remembers(self, since: Cursor, channel: str) -> bool:
        """Return whether what followed a cursor on a channel is in memory."""
        ...


@dataclass(slots=True)
class _Reading:
    """The requests for the rows of one channel; those of `next` need a read that begins later."""

    now: list[StateRequest] = field(default_factory=list[StateRequest])
    next: list[StateRequest] = field(default_factory=list[StateRequest])


class States:
    """Takes requests for rows, and passes each on with a state or with its error.

    A request joins the read of its channel that is waiting or under way, unless a state was read for it that
    could not be sent. Any state does, however old: what followed it is sent with it.
    """

    def __init__(
        self,
        reader: RowsReader | None,
        channels: Channels,
        answers: StateAnswersPort,
        *,
        supervisor: Supervisor,
        settings: Settings,
        isolation: Isolation,
        clock: Clock,
    ) -> None:
        """Read nothing yet."""
        self._reader = reader
        self._channels = channels
        self._supervisor = supervisor
        self._answers = answers
        self._limit = Limit(settings.rows_per_channel, settings.rows_bytes)
        self._isolation = isolation
        self._clock = clock
        self._checks: dict[str, EventCheck] = {}
        """By the name of a declaration."""
        self._reading: dict[str, _Reading] = {}
        self._turns = asyncio.Semaphore(READS_AT_ONCE)
        self._kept: OrderedDict[str, tuple[float, int, State]] = OrderedDict()
        self._held: WeakValueDictionary[str, State] = WeakValueDictionary()
        """The last state of each channel, for as long as a client that reads slowly holds it."""

    def add(self, request: StateRequest) -> None:
        """Have a request answered, in a later turn of the event loop."""
        reading = self._reading.get(request.channel)
        if reading is not None:
            (reading.next if request.attempts else reading.now).append(request)
            return
        self._reading[request.channel] = _Reading([request])
        self._supervisor.spawn(self._work(request.channel), "states")

    async def _work(self, channel: str) -> None:
        """Answer the requests for one channel until there are none."""
        reading = self._reading[channel]
        try:
            while reading.now:
                answer = await self._state(channel, may_be_kept=not any(r.attempts for r in reading.now))
                while reading.now:
                    part, reading.now = reading.now[:SLICE], reading.now[SLICE:]
                    self._answers.take([(request, _for(request, answer)) for request in part])
                    await asyncio.sleep(0)
                reading.now, reading.next = reading.next, []
        finally:
            del self._reading[channel]

    async def _state(self, channel: str, *, may_be_kept: bool) -> Answer:
        kept = self._find_kept(channel) or self._find_held(channel) if may_be_kept else None
        if kept is not None:
            return kept
        self._kept.pop(channel, None)
        try:
            async with self._turns:
                return await self._read(channel)
        except (RowsLimitExceeded, LogUnavailable) as error:
            return error
        except RowsUnreadable as error:
            logger.warning("the rows of %s cannot be read: %s", channel, error.reason)
            return error
        except (Exception, asyncio.CancelledError) as error:
            if is_stopping():
                raise
            self._isolation.report("state", f"the rows of {channel}", error)
            return RowsUnreadable(channel)

    async def _read(self, channel: str) -> State:
        declaration, _ = self._channels.resolve(channel)
        key = declaration.row_key
        if key is None or self._reader is None:
            raise RowsUnreadable(channel, "no backend of this server has rows")
        self._isolation.counts.state_reads += 1
        found = await self._reader.read(channel, self._limit)
        state = await self._encoded(channel, key, found)
        self._keep(state)
        return state

    async def _encoded(self, channel: str, key: Sequence[str], found: TableRows) -> State:
        """Return the state with the rows that fit their type, in pages, with a turn for others after each."""
        check = self._check_of(channel)
        pages: list[Bundle] = []
        page: list[str] = []
        size = count = skipped = 0
        for row in found.rows:
            try:
                page.append(check.complete(row))
            except PayloadInvalid as error:
                skipped += 1
                self._report(channel, error)
                continue
            count += 1
            size += len(page[-1])
            if size >= PAGE_BYTES:
                pages.append(Bundle([rows(channel, key, page)]))
                page, size = [], 0
                await asyncio.sleep(0)
        if page or not pages:
            pages.append(Bundle([rows(channel, key, page)]))
        return State(channel, found.cursor, count, found.skipped + skipped, tuple(pages))

    def _check_of(self, channel: str) -> EventCheck:
        declaration, _ = self._channels.resolve(channel)
        if declaration.name not in self._checks:
            self._checks[declaration.name] = EventCheck(declaration)
        return self._checks[declaration.name]

    def _report(self, channel: str, error: PayloadInvalid) -> None:
        family = self._channels.resolve(channel)[0].name
        reasons = self._isolation.counts.skipped.setdefault(family, {})
        reasons[error.code] = reasons.get(error.code, 0) + 1
        if reasons[error.code] & (reasons[error.code] - 1) == 0:  # thousands of rows may fail alike
            logger.warning("a row of %s is not in its state: %.400s", channel, error)

    def _find_kept(self, channel: str) -> State | None:
        at, _, state = self._kept.get(channel, (float("-inf"), 0, None))
        if state is None or self._clock.monotonic() - at > KEPT_SECONDS:
            return None
        return state if self._answers.remembers(state.cursor, channel) else None

    def _find_held(self, channel: str) -> State | None:
        """Return the state that slow clients hold, if all of them hold much: they share it, not one each."""
        state = self._held.get(channel)
        if state is None or not self._answers.remembers(state.cursor, channel):
            return None
        return state if sum([held.held_bytes for held in self._held.values()]) > KEPT_BYTES else None

    def _keep(self, state: State) -> None:
        self._held[state.channel] = state
        size = sum([page.size for page in state.pages])
        self._kept[state.channel] = (self._clock.monotonic(), size, state)
        while sum([size for _, size, _ in self._kept.values()]) > KEPT_BYTES:
            self._kept.popitem(last=False)

    def forget_old(self) -> None:
        """Drop the states that serve others no longer."""
        oldest = self._clock.monotonic() - KEPT_SECONDS
        for channel in [channel for channel, (at, _, _) in self._kept.items() if at < oldest]:
            del self._kept[channel]


def _for(request: StateRequest, answer: Answer) -> Answer:
    if isinstance(answer, State) and request.attempts >= MOST_ATTEMPTS:
        return RowsUnreadable(request.channel, "what followed the rows could not be read")
    return answer
